"""What people see in a terminal: tables, sentences, progress; one module for each command that shows much."""
