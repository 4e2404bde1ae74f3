"""The study file: its keys, what each allows, and how it is read."""
