"""Which model next: spaces, objectives, costs, acquisition (EHVI), strategies, fronts.

Called, it runs a study: `catransformers.search("study.toml")`, see `api.study.search`.
"""

import sys

from catransformers.lazy import CallablePackage

CALLED = "catransformers.api.study:search"
sys.modules[__name__].__class__ = CallablePackage
