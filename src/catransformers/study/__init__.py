"""Memory: what a study has done, in one SQLite file."""
