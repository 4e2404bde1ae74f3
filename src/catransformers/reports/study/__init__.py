"""A study's report: its summary, and the page, tables, pictures and files drawn from it."""
