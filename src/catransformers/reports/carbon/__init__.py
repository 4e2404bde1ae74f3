"""What a footprint depends on: sensitivity, in words and pictures."""
