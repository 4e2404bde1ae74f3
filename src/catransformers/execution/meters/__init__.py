"""Energy meters: one small file each, chosen by `[execution] measure` (see `choose`)."""
