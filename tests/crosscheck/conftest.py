"""The other tools as fixtures: they are there when they are asked for."""

import pytest
from crosscheck_environments import demand


def _ready(request: pytest.FixtureRequest, tool: str) -> str:
    demand(tool, request.config.getoption("markexpr") or "")
    return tool


@pytest.fixture
def scalesim(request: pytest.FixtureRequest) -> str:
    """SCALE-Sim, ready to be asked."""
    return _ready(request, "scalesim")


@pytest.fixture
def zigzag(request: pytest.FixtureRequest) -> str:
    """ZigZag, ready to be asked."""
    return _ready(request, "zigzag")
