"""What every model of a space costs on every accelerator: exact, before any training."""
