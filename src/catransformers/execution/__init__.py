"""Labour: from a study file to finished trials."""
