"""Of a family's spec and net: what they say of themselves is so, and outputs are a function of the batch alone."""

from __future__ import annotations

import json

import torch

from catransformers.errors import InputError
from catransformers.models.families.net import Net, Stack
from catransformers.models.families.nets import make_net
from catransformers.testing.kit import ROUNDING, FamilyKit, differences, halves, outputs_of, rows, samples
from catransformers.workloads import families
from catransformers.workloads.spec import ModelSpec


class SpecChecks(FamilyKit):
    """Of the spec."""

    def test_the_kit_is_given_enough(self) -> None:
        """Dimensions of 2 and more, three samples and more: else the other tests could not fail."""
        spec, batch = self.spec(), self.batch()
        small = [name for name, size in spec.dimensions().items() if size < 2]
        assert not small, f"spec(): {', '.join(small)} below 2"
        assert samples(batch) >= 3, "batch(): fewer than three samples"
        first, second = outputs_of(self.net(), rows(batch, [0])), outputs_of(self.net(), rows(batch, [1]))
        assert differences(first, second), "batch(): two samples have the same outputs"

    def test_a_spec_survives_json(self) -> None:
        """to_dict is plain data, and from_dict reads it back."""
        for name, values in [("full", {}), *halves(self.spec())]:
            spec = self.spec().with_dimensions(values)
            again = families.spec_from_dict(json.loads(json.dumps(spec.to_dict())))
            assert again == spec, f"{name}: {again} came back, not {spec}"

    def test_a_spec_of_other_keys_is_refused(self) -> None:
        """A missing or an unknown key is an InputError that names it."""
        plain = self.spec().to_dict()
        data: dict[str, object]
        for key, data in (("depth_of_field", {**plain, "depth_of_field": 3}), ("family", _without(plain, "family"))):
            found = _refusal(lambda data=data: families.spec_from_dict(data))
            assert found is not None, f"{key}: from_dict took it"
            assert key in str(found), f"{key} is not named in: {found}"

    def test_dimensions_shrink_and_never_grow(self) -> None:
        """with_dimensions takes 1 to the spec's own, one dimension by itself, and tells all mistakes at once."""
        spec = self.spec()
        own = spec.dimensions()
        assert spec.with_dimensions({}) == spec.with_dimensions(own) == spec
        for name, size in own.items():
            changed = spec.with_dimensions({name: 1}).dimensions()
            assert changed == {**own, name: 1}, f"{name}=1 gives {changed}"
            for wrong in (0, size + 1, 1.5):
                found = _refusal(lambda name=name, wrong=wrong: spec.with_dimensions({name: wrong}))
                assert found is not None, f"{name}={wrong} was taken"
        every = _refusal(lambda: spec.with_dimensions(dict.fromkeys(own, 0) | {"depth_of_field": 1}))
        assert every is not None, "an unknown dimension was taken"
        told = {problem.where for problem in every.problems}
        assert told == {*own, "depth_of_field"}, f"of several mistakes only these are told: {told}"

    def test_parameters_are_the_closed_form_s(self) -> None:
        """The family's count is that of the net, full and at one half."""
        for name, values in [("full", {}), *halves(self.spec())]:
            spec = self.spec().with_dimensions(values)
            closed, own = families.parameters(spec), sum(p.numel() for p in make_net(spec, empty=True).parameters())
            assert closed == own, f"{name}: {closed} by the closed form, {own} in the net"


class NetChecks(FamilyKit):
    """Of the net."""

    def test_every_tensor_is_described(self) -> None:
        """Each tensor belongs to one stack, whose axes have the sizes of the spec; nothing is described twice."""
        net = self.net()
        state, described = net.state_dict(), _described(net)
        wrong = [f"{name} is in no stack" for name in state if name not in described]
        wrong += [f"{name} is described and does not exist" for name in described if name not in state]
        for name, tensor in state.items():
            for stack, axes in described.get(name, []):
                wrong += _size_faults(net.spec, stack, name, axes, tensor.shape)
            if len(described.get(name, [])) > 1:
                wrong.append(f"{name} is in two stacks")
        assert not wrong, "; ".join(wrong)

    def test_stacks_have_the_spec_s_dimensions(self) -> None:
        """Together the stacks' dimensions are those of the spec; the modules they name are there."""
        net = self.net()
        stacks = net.stacks()
        found: dict[str, int] = {}
        for stack in stacks:
            size = stack.size(net.spec.dimensions())
            found |= stack.dimensions(size)
            blocks = net.blocks_of(stack)
            assert len(blocks) == size.layers, f"{stack.name}: {len(blocks)} blocks, {size.layers} layers in the spec"
            for block in blocks:
                for path in (stack.context, stack.neurons, *stack.norms):
                    block.get_submodule(path)
            for path in stack.outer_norms:
                net.get_submodule(path)
        assert found == net.spec.dimensions(), f"the stacks have {found}, the spec {net.spec.dimensions()}"

    def test_weights_are_all_there_is(self) -> None:
        """No buffers: a net on the meta device, or of another type, has nothing that loading would miss."""
        net = self.net()
        buffers = [name for name, _ in net.named_buffers()]
        assert not buffers, f"buffers: {', '.join(buffers)}"
        assert list(net.state_dict()) == [name for name, _ in net.named_parameters()]

    def test_a_net_is_made_without_memory(self) -> None:
        """On the meta device it has the same tensors, and once they are given the same outputs."""
        net, batch = self.net(), self.batch()
        empty = make_net(net.spec, empty=True)
        solid = [name for name, tensor in empty.state_dict().items() if not tensor.is_meta]
        assert not solid, f"not on the meta device: {', '.join(solid)}"
        empty.load_state_dict(net.state_dict(), strict=True, assign=True)
        wrong = differences(outputs_of(empty.eval(), batch), outputs_of(net, batch))
        assert not wrong, "; ".join(wrong)

    def test_fresh_weights_can_be_trained(self) -> None:
        """A net as its family initialises it has finite outputs, and every weight a finite gradient."""
        torch.manual_seed(0)
        net, batch = make_net(self.spec()).train(), self.batch()
        outputs = net.outputs(batch)
        wrong = [name for name, output in outputs.items() if not bool(output.isfinite().all())]
        assert not wrong, f"not finite: {', '.join(wrong)}"
        loss = self.loss(outputs, batch)
        assert loss.shape == (), f"loss(): {tuple(loss.shape)}, not a scalar"
        loss.backward()  # type: ignore[no-untyped-call]
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert bool(parameter.grad.isfinite().all()), f"{name} has a gradient that is not finite"

    def test_outputs_are_repeatable(self) -> None:
        """Twice the same bits, in training mode as well: there is no dropout."""
        net, batch = self.net(), self.batch()
        first = outputs_of(net, batch)
        for again in (outputs_of(net, batch), outputs_of(net.train(), batch)):
            wrong = differences(again, first)
            assert not wrong, "; ".join(wrong)

    def test_samples_do_not_see_each_other(self) -> None:
        """The samples in another order, or fewer of them, have the outputs that they had."""
        net, batch = self.net(), self.batch()
        whole, number = outputs_of(net, batch), samples(batch)
        for index in (list(reversed(range(number))), [1], [0, 2]):
            expected = {name: output if output.dim() == 0 else output[index] for name, output in whole.items()}
            wrong = differences(outputs_of(net, rows(batch, index)), expected, ROUNDING)
            assert not wrong, f"samples {index}: {'; '.join(wrong)}"

    def test_a_stack_runs_by_itself(self) -> None:
        """Of a batch with the inputs of one stack only come its outputs, the same as of the whole batch."""
        net, batch = self.net(), self.batch()
        whole = outputs_of(net, batch)
        seen: set[str] = set()
        for stack in net.stacks():
            own = {key: batch[key] for key in stack.inputs if key in batch}
            assert own, f"{stack.name}: batch() has none of {', '.join(stack.inputs)}"
            found = outputs_of(net, own)
            seen |= set(found)
            wrong = differences(found, {name: whole[name] for name in found if name in whole})
            assert not wrong, f"{stack.name}: {'; '.join(wrong)}"
        assert seen == set(whole), f"outputs of no stack: {', '.join(set(whole) - seen)}"


def _without(data: dict[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in data.items() if name != key}


def _refusal(call: object) -> InputError | None:
    """The InputError that a call ends in, or none."""
    assert callable(call)
    try:
        call()
    except InputError as error:
        return error
    return None


def _described(net: Net) -> dict[str, list[tuple[Stack, tuple[str, ...]]]]:
    """Every tensor that the stacks describe, with the stacks that do and the names of its axes."""
    found: dict[str, list[tuple[Stack, tuple[str, ...]]]] = {}
    for stack in net.stacks():
        for name, axes in stack.stem_axes.items():
            found.setdefault(name, []).append((stack, axes))
        for number in range(stack.size(net.spec.dimensions()).layers):
            for name, axes in stack.block_axes.items():
                found.setdefault(f"{stack.blocks}.{number}.{name}", []).append((stack, axes))
    return found


def _size_faults(spec: ModelSpec, stack: Stack, name: str, axes: tuple[str, ...], shape: tuple[int, ...]) -> list[str]:
    size = stack.size(spec.dimensions())
    wanted = {
        "embed": size.embed,
        "ffn": size.ffn,
        "attention": size.heads * stack.head_size,
        "qkv": 3 * size.heads * stack.head_size,
        "kv": size.heads * stack.kv_size,
    }
    if len(axes) != len(shape):
        return [f"{name} is {tuple(shape)}, described as {axes}"]
    return [
        f"{name}: axis {axis!r} is {length}, not {wanted[axis]}"
        for axis, length in zip(axes, shape, strict=True)
        if axis in wanted and length != wanted[axis]
    ]
