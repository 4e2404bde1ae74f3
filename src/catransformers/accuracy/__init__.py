"""How good: tasks, proxy fine-tune, evaluation."""
