"""What the search benchmark is judged with stands in `benchmarks/`; its tests are here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
