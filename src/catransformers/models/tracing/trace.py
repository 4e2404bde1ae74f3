"""A workload from any torch module, by running it without numbers on the meta device: no weights, no memory.

A dispatch mode sees every operator that the module's forward pass calls, below autograd and below `torch.nn`; what
they are is `tracing_operators`' matter. The result agrees with the closed forms to the multiply-accumulate and the
parameter. It is the forward pass as the library runs it: each layer is a row of its own, heads that share keys are
copied where the library copies them, and under a causal mask the full product of queries and keys is counted.

The working set is that of the library's own order of calls, without fusing; caches that go in count throughout, new
ones as long as the pass uses them. A question about numbers, which a trace does not have, stops it, but for two:
`all(…)` is answered yes and `any(…)` no, since so libraries ask whether inputs are regular (no padding, no packed
sequences).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from catransformers.errors import InputError, Problem
from catransformers.models.tracing.operators import RULES, Recogniser
from catransformers.models.tracing.values import Call, Values, key, stored_numel
from catransformers.workloads.operators import Workload

_META = torch.device("meta")
#: Operators with multiply-accumulates: what torch itself can count, and more. Those without a rule stop a trace.
_WITH_MACS = frozenset(str(packet).rpartition(".")[2] for packet in flop_registry) | {
    "_trilinear",
    "_cdist_forward",
    "_embedding_bag",
    "conv_tbc",
    "addr",
    "_grouped_mm",
    "_scaled_grouped_mm",
    "grid_sampler_2d",
    "grid_sampler_3d",
}
_WITH_MACS_PREFIXES = ("_fft_", "linalg_", "_linalg_")
#: Where torch's own operators live; what other libraries register may compute anything.
_NAMESPACES = frozenset({"aten", "prim", "prims"})
#: Questions about numbers that are answered without them.
_ANSWERS = {"all": True, "any": False}


def count_parameters(module: nn.Module) -> int:
    """Parameters of a module, tied ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def trace(module: nn.Module, *inputs: Any, name: str | None = None, **kwargs: Any) -> Workload:
    """One forward pass of a module as a workload, in 8-bit values.

    Each operator's `component` is the first element of its module's path (the workload's name for what runs outside all
    parts), its `name` the rest, or that of its weights: `transformer` and `resblocks.0.mlp.c_fc`.

    Args:
        module: any module. One that is not wholly on the meta device is traced as a copy there, made without copying
            its weights; the module itself stays as it is.
        inputs: what its forward takes; only shapes and types of tensors matter.
        name: of the workload; by default the module's class.
        kwargs: what its forward takes by name.

    Returns:
        The operators in the order of their calls. `weight_bytes` are all parameters, used or not.

    Raises:
        InputError: if the forward pass fails with these inputs, needs numbers, or calls an operator of which nobody
            knows what it computes.
    """
    title = name or type(module).__name__
    model = _on_meta(module)
    inputs, kwargs = tree_map_only(Tensor, _to_meta, (inputs, kwargs))
    recorder = _Recorder(model, title)
    for tensor in tree_leaves((inputs, kwargs)):
        if isinstance(tensor, Tensor):
            recorder.input(tensor)
    with ExitStack() as stack:
        stack.enter_context(_paths(model, recorder))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_without_fast_path())
        stack.enter_context(_META)
        stack.enter_context(recorder)
        try:
            results = model(*inputs, **kwargs)
        except Exception as error:
            hint = "a trace has shapes and types alone: give what the model would otherwise read from numbers"
            raise InputError(Problem(title, f"its forward pass cannot be traced: {error}", hint=hint)) from error
    if recorder.unknown:
        what = f"nobody knows what {', '.join(sorted(recorder.unknown))} compute"
        raise InputError(Problem(title, what, hint="use an implementation of plain torch operators"))
    alive = recorder.working_set([t for t in tree_leaves(results) if isinstance(t, Tensor)])
    return Workload(title, recorder.recogniser.operators(), count_parameters(model), alive)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every call, hands it to the recogniser, and notes when values come and go."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        sizes = {key(p)[0]: (path, p.numel()) for path, p in model.named_parameters()}
        self.recogniser = Recogniser(name, Values(sizes))
        self.unknown: set[str] = set()
        self.path: list[tuple[str, bool]] = [("", not any(True for _ in model.children()))]
        self._constant = {*sizes, *(key(b)[0] for b in model.buffers())}
        self._answers: dict[int, bool] = {}
        self._kept: list[Tensor] = []  # so that no storage's identity is given away again
        self._sizes: dict[int, int] = {}
        self._outside: list[Tensor] = []
        self._born: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._clock = 0

    def input(self, tensor: Tensor) -> None:
        """Announce an input of the model."""
        self.recogniser.values.input(tensor)
        self._alive(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        namespace, _, op = func._schema.name.partition("::")
        if op == "_local_scalar_dense" and key(args[0])[0] in self._answers:
            return self._answers[key(args[0])[0]]
        result = func(*args, **given)
        arguments = dict(zip((a.name for a in func._schema.arguments[: len(args)]), args, strict=True)) | given
        results = tuple(t for t in tree_leaves(result) if isinstance(t, Tensor))
        name = op.removesuffix("_") if op.endswith("_") and not op.endswith("__") else op
        has_macs = name in _WITH_MACS or name.startswith(_WITH_MACS_PREFIXES)
        if name not in RULES and (has_macs or namespace not in _NAMESPACES):
            self.unknown.add(func._schema.name)
        call = Call(name, _defaults(func, arguments), results, *self.path[-1])
        self._clock += 1
        self._kept += results
        for tensor in results:
            self._alive(tensor)
        for tensor in call.operands:
            self._alive(tensor, outside=True)
        if name in _ANSWERS:
            self._answers |= {key(tensor)[0]: _ANSWERS[name] for tensor in results}
        self.recogniser.see(call)
        return result

    def _alive(self, tensor: Tensor, *, outside: bool = False) -> None:
        """Note that a value is there now; a new one that no call has made came from outside the pass: a cache."""
        storage = key(tensor)[0]
        if storage in self._constant or not (tensor.is_floating_point() or tensor.is_complex()):
            return
        if storage not in self._born:
            self._born[storage] = 0 if outside else self._clock
            if outside:
                self._outside.append(tensor)
        self._last[storage] = self._clock
        self._sizes[storage] = stored_numel(tensor) * (2 if tensor.is_complex() else 1)

    def working_set(self, results: Sequence[Tensor]) -> int:
        """The most values alive at once: each from the call that made it to its last reader, results to the end."""
        for tensor in (*results, *self._outside):
            self._alive(tensor)
        steps = [0] * (self._clock + 2)
        for storage, born in self._born.items():
            steps[born] += self._sizes[storage]
            steps[self._last[storage] + 1] -= self._sizes[storage]
        alive = most = 0
        for change in steps:
            alive += change
            most = max(most, alive)
        return most


def _defaults(func: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call with those that it leaves to their defaults."""
    left = {a.name: a.default_value for a in func._schema.arguments if a.has_default_value()}
    return left | arguments


def _to_meta(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else torch.empty_like(tensor, device=_META)


def _on_meta(module: nn.Module) -> nn.Module:
    """The module itself if all its tensors are on the meta device, else a copy of it there, without its numbers."""
    own = [*module.parameters(), *module.buffers()]
    own += [value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor)]
    if all(tensor.is_meta for tensor in own):
        return module
    copies: dict[int, Any] = {}
    for tensor in own:
        copied = _to_meta(tensor)
        is_parameter = isinstance(tensor, nn.Parameter)
        copies[id(tensor)] = nn.Parameter(copied, tensor.requires_grad) if is_parameter else copied
    return copy.deepcopy(module, copies)


@contextmanager
def _paths(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Keeps the recorder's path up to date while the model runs."""

    def enter(path: str, leaf: bool) -> Callable[..., None]:
        return lambda *_: recorder.path.append((path, leaf))

    def leave(*_: Any) -> None:
        recorder.path.pop()

    hooks = []
    for path, part in model.named_modules():
        if part is not model:
            leaf = not any(True for _ in part.children())
            hooks.append(part.register_forward_pre_hook(enter(path, leaf)))
            hooks.append(part.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Attention layers of torch in evaluation mode in their parts, not in one fused call."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
