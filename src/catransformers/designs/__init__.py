"""One design, and many: quantities, the design table, `estimate`, `sweep` and `explain`."""
