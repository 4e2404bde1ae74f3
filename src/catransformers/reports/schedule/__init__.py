"""A schedule in words, as a picture and as data."""
