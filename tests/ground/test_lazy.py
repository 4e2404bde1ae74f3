"""Lazy imports: nothing is loaded before it is used, submodules are found, what is missing says so."""

import subprocess
import sys

import pytest

from catransformers.lazy import lazy


def test_nothing_is_loaded_before_use():
    code = (
        "import sys; from catransformers.lazy import lazy; late = lazy('email.mime'); "
        "before = 'email.mime' in sys.modules; "
        "late.text.MIMEText; print(before, 'email.mime.text' in sys.modules)"
    ).replace("; ", "\n")
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=120).split() == ["False", "True"]


def test_what_is_not_there_is_an_error_on_first_use():
    missing, known = lazy("no_such_library"), lazy("json")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        _ = missing.thing
    with pytest.raises(ModuleNotFoundError, match=r"json\.nothing"):
        _ = known.nothing
