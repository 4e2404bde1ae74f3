"""What a study's trained models answer without another training: fronts under other limits, equal accuracies, shares.

A study knows the accuracies of the models that it trained, and the exact cost of every model on every accelerator. So
the questions of the paper can be asked of it afterwards, for any limits and quantities (arXiv 2505.01386, section 5).
"""

from catransformers.search.analysis.along_front import DimensionPruning, Pruning, Share, pruning, shares
from catransformers.search.analysis.iso_accuracy import MODES, IsoAccuracy, ModeChoice, iso_accuracy
from catransformers.search.analysis.limited_fronts import LeftOut, LimitedFront, LimitedFronts, fronts_under
from catransformers.search.analysis.question import asked

__all__ = [
    "MODES",
    "DimensionPruning",
    "IsoAccuracy",
    "LeftOut",
    "LimitedFront",
    "LimitedFronts",
    "ModeChoice",
    "Pruning",
    "Share",
    "asked",
    "fronts_under",
    "iso_accuracy",
    "pruning",
    "shares",
]
