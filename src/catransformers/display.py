"""Rich display in notebooks: which function draws a result as HTML, by the result's class.

The views stand in `reports`, far above the classes that they draw; they are named here as text and imported when a
notebook asks.
"""

from __future__ import annotations

from pkgutil import resolve_name

_VIEWS = "catransformers.reports.notebook"


class Displayed:
    """A result that a notebook shows as HTML: the view is the function of `reports.notebook` named as its class."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        html: str = resolve_name(f"{_VIEWS}:{type(self).__name__}")(self)
        return html
