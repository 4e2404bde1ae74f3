"""Accuracy: tasks, proxy fine-tuning, final training, metrics, benchmarks."""
