"""The analyses of a study as data and pictures; `terminal.analysis` shows them as tables."""
