"""The public Python API: what `import catransformers` offers beside the functions that it takes over as they are."""
