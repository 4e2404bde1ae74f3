"""Metrics: recall@k, top-k accuracy, F1 and Matthews correlation, with their standard errors."""
