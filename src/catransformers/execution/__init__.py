"""Execution of studies: the loop, worker processes, training, from a study file to finished trials."""
