"""HTML templates (Jinja2) that escape every text; Plotly's script, which pages hold inside."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from functools import cache
from typing import Any

from catransformers.lazy import lazy

jinja2 = lazy("jinja2")
offline = lazy("plotly.offline")


@cache
def plotly_script() -> str:
    """Plotly's JavaScript, compressed and in base64: a third of its size, the same bytes each time."""
    return base64.b64encode(gzip.compress(offline.get_plotlyjs().encode(), 9, mtime=0)).decode("ascii")


def render(template: str, values: Mapping[str, Any]) -> str:
    """A template of `catransformers/data` with its values; a value that is missing is an error.

    Args:
        template: its file name.
        values: by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("catransformers", "data"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page: str = environment.get_template(template).render(values)
    return page if page.endswith("\n") else page + "\n"
