"""Which next: spaces, objectives, strategies, fronts."""
