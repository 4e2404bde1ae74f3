"""A package beside catransformers that adds one of each kind; found through its entry points."""
