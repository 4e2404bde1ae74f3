"""Energy meters of this machine: RAPL, NVML, CodeCarbon, or an estimate from processor time."""
