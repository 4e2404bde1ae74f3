"""What `analyse` shows: fronts, iso-accuracy designs, shares, pruned dimensions."""
