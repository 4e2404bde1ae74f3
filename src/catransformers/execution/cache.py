"""Where computed things that can always be computed again are kept, so that a study that goes on need not wait.

`CATRANSFORMERS_CACHE` names the folder; set to nothing, there is no cache. By default it is the system's place for a
user's caches. It may be deleted at any time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "CATRANSFORMERS_CACHE"


def cache_folder(kind: str) -> str | None:
    """The folder of a kind of cached things, made if need be; None if there is to be none or it cannot be written."""
    named = os.environ.get(VARIABLE)
    if named == "":
        return None
    folder = (Path(named) if named else _default()) / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


def _default() -> Path:
    if sys.platform == "win32":
        place = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        place = Path.home() / "Library" / "Caches"
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return place / "catransformers"
