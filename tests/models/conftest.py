"""The libraries that models come from, for tests that compare with them; a test without its library is skipped."""

import importlib
import importlib.util
from typing import Any

import pytest


def _library(name: str, extra: str) -> Any:
    """An optional library; it may import torchvision, whose operators are declared where it does not fit torch."""
    from catransformers.models.loading.torchvision_compat import declare_operators

    if importlib.util.find_spec(name) is None:
        pytest.skip(f"the extra {extra!r} is not installed")
    if importlib.util.find_spec("torchvision") is not None:
        declare_operators()
    return importlib.import_module(name)


@pytest.fixture(scope="session")
def transformers() -> Any:
    return _library("transformers", "hf")


@pytest.fixture(scope="session")
def timm() -> Any:
    return _library("timm", "vit")


@pytest.fixture(scope="session")
def open_clip() -> Any:
    return _library("open_clip", "clip")
