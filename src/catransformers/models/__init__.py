"""The nets: load, score, prune, save."""
