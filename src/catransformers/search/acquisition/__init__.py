"""Expected hypervolume improvement (EHVI) in closed form, for exact costs and an uncertain accuracy."""
