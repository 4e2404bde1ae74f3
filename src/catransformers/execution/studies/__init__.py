"""A study from its file to what it is made of: opening, costs, warm start, final test."""
