"""The final training of a study's model, and its evaluation."""
