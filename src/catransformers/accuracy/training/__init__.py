"""Training: the proxy fine-tune of a trial, and the final training with distillation."""
