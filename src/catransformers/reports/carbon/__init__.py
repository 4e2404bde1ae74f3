"""Sensitivity analysis of a footprint, in words and pictures."""
