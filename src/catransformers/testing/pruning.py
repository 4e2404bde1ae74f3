"""Of pruning: what is kept computes what it did, what goes is as if zeroed, what is left trains, saves and loads."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from catransformers.errors import InputError
from catransformers.models.families.net import Net, Stack
from catransformers.models.loading.storage import load_model, save_model
from catransformers.models.pruning.importance import Importance
from catransformers.models.pruning.prune import prune, sliced, sorted_net
from catransformers.models.pruning.removal import skipped
from catransformers.testing.kit import (
    ROUNDING,
    FamilyKit,
    differences,
    halves,
    head_channels,
    outputs_of,
    random_importance,
    without,
)
from catransformers.workloads import families

_STEPS, _LEARNING_RATE = 3, 1e-3
#: Sorting reorders every sum of the net, block after block.
_SORTED = 1e-5


class PruningChecks(FamilyKit):
    """Of pruning."""

    def test_the_full_spec_is_the_same_net(self) -> None:
        """Nothing pruned: the same bits, in weights of its own."""
        net, batch = self.net(), self.batch()
        whole = prune(net, net.spec, random_importance(net))
        wrong = differences(outputs_of(whole, batch), outputs_of(net, batch))
        assert not wrong, "; ".join(wrong)
        own = net.state_dict()
        shared = [name for name, tensor in whole.state_dict().items() if tensor.data_ptr() == own[name].data_ptr()]
        assert not shared, f"shared with the base: {', '.join(shared)}"

    def test_one_half_of_each_dimension(self) -> None:
        """Alone and together: it runs, counts as the closed form says, trains, and comes back from disk bit by bit."""
        base, batch = self.net(), self.batch()
        before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
        for name, values in halves(base.spec):
            spec = base.spec.with_dimensions(values)
            net = prune(base, spec, random_importance(base))
            assert net.spec == spec, f"{name}: the spec became {net.spec}"
            count = sum(parameter.numel() for parameter in net.parameters())
            assert count == families.parameters(spec), f"{name}: {count} parameters, not {families.parameters(spec)}"
            losses = self._trained(net)
            assert all(bool(torch.isfinite(torch.tensor(loss))) for loss in losses), f"{name}: losses {losses}"
            assert losses[-1] < losses[0], f"{name}: the loss does not fall in {_STEPS} steps, {losses}"
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                save_model(net, path)
                wrong = differences(outputs_of(load_model(path), batch), outputs_of(net.eval(), batch))
            assert not wrong, f"{name}: from disk {'; '.join(wrong)}"
        wrong = [name for name, tensor in base.state_dict().items() if not torch.equal(tensor, before[name])]
        assert not wrong, f"pruning or training the pruned net changed the base: {', '.join(wrong)}"

    def _trained(self, net: Net) -> list[float]:
        """Losses before and after each of some steps on the batch."""
        batch, losses = self.batch(), []
        net.train()
        optimizer = torch.optim.AdamW(net.parameters(), lr=_LEARNING_RATE)
        for _ in range(_STEPS):
            loss = self.loss(net.wide_outputs(batch), batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            net.constrain()
            losses.append(float(loss.detach()))
        with torch.no_grad():
            losses.append(float(self.loss(net.wide_outputs(batch), batch)))
        return losses

    def test_what_is_no_part_of_the_base_is_refused(self) -> None:
        """A base of one half cannot be pruned to the full spec."""
        net = self.net()
        small = prune(net, net.spec.with_dimensions(dict(list(halves(net.spec))[-1][1])), random_importance(net))
        refused = False
        try:
            prune(small, net.spec, random_importance(small))
        except InputError:
            refused = True
        assert refused, "a net was pruned to a larger one"

    def test_removing_a_head_is_zeroing_it(self) -> None:
        """In every block another one, chosen by its score."""
        self._removal_is_zeroing("heads")

    def test_removing_a_neuron_is_zeroing_it(self) -> None:
        """In every block another one, chosen by its score."""
        self._removal_is_zeroing("ffn")

    def _removal_is_zeroing(self, part: str) -> None:
        net, batch = self.net(), self.batch()
        for stack in net.stacks():
            size = stack.size(net.spec.dimensions())
            number = getattr(size, part)
            gone = [layer % number for layer in range(size.layers)]
            scores = torch.ones(size.layers, number)
            scores[torch.arange(size.layers), torch.tensor(gone)] = 0
            spec = net.spec.with_dimensions(stack.dimensions(replace(size, **{part: number - 1})))
            pruned = prune(net, spec, _with_scores(net, stack, part, scores))
            if part == "heads":
                module, channels = stack.context, [head_channels(stack, head) for head in gone]
            else:
                module, channels = stack.neurons, [torch.tensor([neuron]) for neuron in gone]
            with without(net, stack, module, channels):
                zeroed = outputs_of(net, batch)
            wrong = differences(outputs_of(pruned, batch), zeroed, ROUNDING)
            assert not wrong, f"{stack.name}: {'; '.join(wrong)}"
            assert differences(zeroed, outputs_of(net, batch), ROUNDING), f"{stack.name}: zeroing {part} does nothing"

    def test_removing_a_layer_is_skipping_it(self) -> None:
        """Each one."""
        net, batch = self.net(), self.batch()
        for stack in net.stacks():
            size = stack.size(net.spec.dimensions())
            spec = net.spec.with_dimensions(stack.dimensions(replace(size, layers=size.layers - 1)))
            for layer in range(size.layers):
                scores = torch.ones(size.layers)
                scores[layer] = 0
                pruned = prune(net, spec, _with_scores(net, stack, "layers", scores))
                with skipped(net.blocks_of(stack)[layer]):
                    expected = outputs_of(net, batch)
                wrong = differences(outputs_of(pruned, batch), expected, ROUNDING)
                assert not wrong, f"{stack.name}, layer {layer}: {'; '.join(wrong)}"

    def test_pruning_is_slicing_a_sorted_net(self) -> None:
        """Sorted by importance it computes the same; its first parts are what pruning keeps."""
        net, batch = self.net(), self.batch()
        scores = random_importance(net, seed=1)
        sorted_one = sorted_net(net, scores)
        wrong = differences(outputs_of(sorted_one, batch), outputs_of(net, batch), _SORTED)
        assert not wrong, f"sorted: {'; '.join(wrong)}"
        layers = {stack.prefix + "layers" for stack in net.stacks()}
        for name, values in halves(net.spec):
            spec = net.spec.with_dimensions({key: value for key, value in values.items() if key not in layers})
            pruned, slice_ = prune(net, spec, scores), sliced(sorted_one, spec)
            wrong = differences(outputs_of(slice_, batch), outputs_of(pruned, batch), _SORTED)
            assert not wrong, f"{name}: {'; '.join(wrong)}"


def _with_scores(net: Net, stack: Stack, part: str, scores: Tensor) -> Importance:
    """Random scores of all parts but those of one kind in one stack."""
    found = random_importance(net)
    return replace(found, stacks={**found.stacks, stack.name: replace(found.stacks[stack.name], **{part: scores})})
