"""Fact tables and the embedded model."""
