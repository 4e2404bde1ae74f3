"""Conformance kits: what a model family or a task must do to work with everything else, as tests that run on yours.

Make a class whose name starts with `Test`, let it inherit `FamilyConformance` or `TaskConformance`, say what yours is,
and let pytest collect it. Every test says what it found wrong. Nothing here needs pytest itself.
"""

from catransformers.testing.family import FamilyConformance
from catransformers.testing.task import TaskConformance

__all__ = ["FamilyConformance", "TaskConformance"]
