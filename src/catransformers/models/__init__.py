"""The nets: load, score, prune, save.

Called, it lists the models that are known by name: `catransformers.models()`, see `api.models.models`.
"""

import sys

from catransformers.lazy import CallablePackage

CALLED = "catransformers.api.models:models"
sys.modules[__name__].__class__ = CallablePackage
