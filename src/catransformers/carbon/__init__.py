"""At what cost to the planet: embodied and operational carbon, grids, scenarios, ranges."""
