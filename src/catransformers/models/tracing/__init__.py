"""A workload from any torch module, traced on the meta device."""
