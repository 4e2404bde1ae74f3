"""Conformance kits: what a plug-in must do to work with everything else, as tests that run on yours.

Make a class whose name starts with `Test`, let it inherit the kit of your kind (a model family, a task, a search
strategy, an executor, a source of grid intensity), say what yours is, and let pytest collect it. Every test says what
it found wrong. Nothing here needs pytest itself.
"""

from catransformers.testing.executor import ExecutorConformance
from catransformers.testing.family import FamilyConformance
from catransformers.testing.intensity import IntensitySourceConformance
from catransformers.testing.strategy import StrategyConformance
from catransformers.testing.task import TaskConformance

__all__ = [
    "ExecutorConformance",
    "FamilyConformance",
    "IntensitySourceConformance",
    "StrategyConformance",
    "TaskConformance",
]
