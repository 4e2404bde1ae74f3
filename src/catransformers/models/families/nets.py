"""From a spec to a net of its family, also without memory (on torch's meta device) for weights to come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from catransformers.models.families.net import Net
from catransformers.workloads.families import family_of


class _NoDrawing(TorchFunctionMode):
    """Leaves out normal initialisation: without memory it does nothing, but torch imports a compiler's worth for it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func in (torch.Tensor.normal_, nn.init.normal_):
            return args[0] if args else named["tensor"]
        return func(*args, **named)


@contextmanager
def without_memory() -> Iterator[None]:
    """While open, nets are made on the meta device, for weights to come."""
    with torch.device("meta"), _NoDrawing():
        yield


def make_net(spec: Any, *, empty: bool = False) -> Net:
    """A net of a spec of any family.

    Args:
        spec: its dimensions.
        empty: on the meta device, without memory, for weights to come; otherwise as the family initialises it.

    Raises:
        InputError: if the spec is not one that a net can have.
    """
    kind: Callable[[Any], Net] = resolve_name(family_of(spec).net)
    if not empty:
        return kind(spec)
    with without_memory():
        return kind(spec)
