"""Reports: what people see, as tables, figures, pages and in the terminal."""
