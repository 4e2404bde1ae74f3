"""Where the values of a traced model come from: which follow from parameters, which from inputs, and by which calls.

Every value is a *table* (masks, positions, angles: whatever follows from shapes and indices alone), *parametric* (it
follows from parameters alone) or an *activation*. A value that is a function of one tensor, element by element, has
that tensor as its *root*: two values of one root belong to one function, such as x·σ(1.702x).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor

#: A value: its storage, where it starts there, and how many elements it has. Views that only reshape keep all three.
Key = tuple[int, int, int]

ACTIVATIONS: Final = frozenset(
    [
        "gelu",
        "silu",
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "celu",
        "mish",
        "softplus",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "sigmoid",
        "log_sigmoid_forward",
        "tanh",
        "erf",
        "_prelu_kernel",
        "threshold",
    ]
)
#: Elementwise operations: a function of one tensor as long as all their operands are.
ELEMENTWISE: Final = ACTIVATIONS | frozenset(
    [
        "add",
        "sub",
        "rsub",
        "mul",
        "div",
        "pow",
        "square",
        "neg",
        "abs",
        "exp",
        "sqrt",
        "rsqrt",
        "reciprocal",
        "clamp",
        "clamp_min",
        "clamp_max",
        "_to_copy",
        "clone",
    ]
)
LOOK_UPS: Final = frozenset({"embedding", "index_select", "index", "gather"})

#: How far back a value's origin is looked for.
_WALK: Final = 6


def key(tensor: Tensor) -> Key:
    """What identifies a value."""
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset()), tensor.numel()


def stored_numel(tensor: Tensor) -> int:
    """Elements that the storage of a tensor holds; fewer than it shows where it is expanded."""
    return int(tensor.untyped_storage().nbytes() // tensor.element_size())


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator: its name without namespace, overload and trailing underscore, and where it happened.

    Args:
        op: the name.
        arguments: by their names in the operator's schema.
        results: all tensors that come back.
        path: the module that called it, as in `visual.transformer`; empty for the model itself.
        leaf: whether that module has no parts of its own.
    """

    op: str
    arguments: Mapping[str, Any]
    results: tuple[Tensor, ...]
    path: str
    leaf: bool

    @property
    def operands(self) -> list[Tensor]:
        """All tensors among the arguments, also in lists."""
        found = []
        for value in self.arguments.values():
            found += [v for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, Tensor)]
        return found


@dataclass(frozen=True, slots=True)
class Producer:
    """The call that made a value: which operation, its number, its operands' values, and where they came from then."""

    op: str
    call: int
    operands: tuple[Key, ...]
    before: tuple[Producer | None, ...]


@dataclass(slots=True)
class Values:
    """What is known of every value so far.

    Args:
        parameters: names and sizes of the parameters by storage.
    """

    parameters: Mapping[int, tuple[str, int]]
    _states: dict[int, frozenset[int] | None] = field(default_factory=dict)
    _origins: dict[Key, Producer] = field(default_factory=dict)
    _roots: dict[Key, Key] = field(default_factory=dict)
    _active: set[Key] = field(default_factory=set)
    _claimed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._states |= {storage: frozenset({storage}) for storage in self.parameters}

    def input(self, tensor: Tensor) -> None:
        """Announce an input of the model: numbers are activations, indices and masks are tables."""
        if tensor.is_floating_point() or tensor.is_complex():
            self._states[key(tensor)[0]] = None

    def sources(self, value: Tensor | Key) -> frozenset[int] | None:
        """Storages of the parameters that a parametric value follows from; none for a table, None for an activation."""
        storage = key(value)[0] if isinstance(value, Tensor) else value[0]
        return self._states.get(storage, frozenset())

    def is_data(self, tensor: Tensor) -> bool:
        """Whether a value is no table."""
        return self.sources(tensor) != frozenset()

    def is_parametric(self, tensor: Tensor) -> bool:
        """Whether a value follows from parameters alone."""
        return bool(self.sources(tensor))

    def is_activation(self, tensor: Tensor) -> bool:
        """Whether a value follows from the model's inputs."""
        return self.sources(tensor) is None

    def is_active(self, tensor: Tensor) -> bool:
        """Whether a value is a function of its root in which there is an activation already."""
        return key(tensor) in self._active

    def claim(self, *tensors: Tensor | None) -> int:
        """Size of the parameters behind some values that nobody has claimed yet."""
        behind = {storage for t in tensors if t is not None for storage in self.sources(t) or ()} - self._claimed
        self._claimed |= behind
        return sum(self.parameters[storage][1] for storage in behind)

    def root(self, tensor: Tensor) -> Key:
        """The tensor of which a value is a function, element by element."""
        return self._roots.get(key(tensor), key(tensor))

    def origin(self, value: Tensor | Key) -> Producer | None:
        """The call that made a value, or else the last one that wrote to its storage."""
        at = key(value) if isinstance(value, Tensor) else value
        return self._origins.get(at) or self._origins.get((at[0], -1, -1))

    def back(self, tensor: Tensor, through: frozenset[str], to: frozenset[str]) -> Producer | None:
        """The nearest call of one of `to` that a value comes from, through calls of `through` alone."""
        origin = self.origin(tensor)
        for _ in range(_WALK):
            if origin is None or origin.op in to:
                return origin
            if origin.op not in through or not origin.operands:
                return None
            pairs = zip(origin.operands, origin.before, strict=True)
            origin = next((before for at, before in pairs if self.sources(at) is None), origin.before[0])
        return None

    def follow(self, call: Call, number: int) -> None:
        """Note what the results of a call are and where they come from."""
        operands = call.operands
        origin = Producer(call.op, number, tuple(map(key, operands)), tuple(map(self.origin, operands)))
        storages = {at[0] for at in origin.operands}
        state = self._result_state(call, operands)
        roots = {self.root(t) for t in operands if t.dim() and t.is_floating_point()}
        tables = any(t.dim() and not self.is_data(t) for t in operands)
        active = call.op in ACTIVATIONS or any(self.is_active(t) for t in operands)
        for result in call.results:
            at = key(result)
            if at[0] in storages and at[0] in self._states and call.op not in ELEMENTWISE:
                continue  # a view
            self._states[at[0]] = state
            self._origins[at] = self._origins[at[0], -1, -1] = origin
            self._roots.pop(at, None)  # written in place
            self._active.discard(at)
            if call.op in ELEMENTWISE and len(roots) == 1 and not tables:
                (root,) = roots
                if root[2] == at[2] and root != at:
                    self._roots[at] = root
                    if active:
                        self._active.add(at)

    def _result_state(self, call: Call, operands: list[Tensor]) -> frozenset[int] | None:
        sources = [self.sources(t) for t in operands]
        if any(source is None for source in sources) or (call.op in LOOK_UPS and any(sources)):
            return None
        return frozenset().union(*(source for source in sources if source))
