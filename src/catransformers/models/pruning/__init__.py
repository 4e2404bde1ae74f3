"""Structured pruning, and the importance scores by which it chooses."""
