"""What other tools read: a model as this package loads it, as its original library does, or as ONNX; a model card."""
