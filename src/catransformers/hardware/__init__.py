"""On what a model runs: accelerators, technologies, mappings, and what operators cost on them."""

from catransformers.hardware.accelerator import Accelerator, AcceleratorTable
from catransformers.hardware.area import die_area
from catransformers.hardware.cost import (
    cost_table,
    cost_tables,
    estimate_workload,
    fits_on_chip,
    map_gemm,
)
from catransformers.hardware.dataflow import systolic_cycles
from catransformers.hardware.spaces import SPACE_NAMES, space
from catransformers.hardware.technology import TECHNOLOGY_NAMES, Technology, technology

__all__ = [
    "SPACE_NAMES",
    "TECHNOLOGY_NAMES",
    "Accelerator",
    "AcceleratorTable",
    "Technology",
    "cost_table",
    "cost_tables",
    "die_area",
    "estimate_workload",
    "fits_on_chip",
    "map_gemm",
    "space",
    "systolic_cycles",
    "technology",
]
