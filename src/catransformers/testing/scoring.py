"""Of importance: every method scores every part, and what does nothing comes last."""

from __future__ import annotations

from typing import Any, get_args

import torch

from catransformers.models.families.net import Net, Stack
from catransformers.models.pruning.importance import Importance, Method, Methods, importance
from catransformers.models.pruning.part_scores import PARTS
from catransformers.testing.kit import FamilyKit, head_channels, rows, samples


class ImportanceChecks(FamilyKit):
    """Of importance."""

    def test_every_method_scores_every_part(self) -> None:
        """Shapes as the spec says, finite, not all the same; the net is left as it was."""
        net = self.net().train()
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        for method in get_args(Method):
            layers: Method = "leave-one-out" if method == "taylor" else method
            found = self._scores(net, Methods(method, method, method, layers))
            wrong = [fault for stack in net.stacks() for fault in _faults(net, stack, found)]
            assert not wrong, f"{method}: {'; '.join(wrong)}"
        assert net.training, "importance left the net in another mode"
        for name, parameter in net.named_parameters():
            assert torch.equal(parameter, before[name]), f"importance changed {name}"
            assert parameter.grad is None, f"importance left a gradient on {name}"
            assert parameter.requires_grad, f"importance left {name} without gradients"

    def test_dead_heads_and_neurons_come_last(self) -> None:
        """What nothing reads has the lowest score in its layer, by Taylor and by leaving it out."""
        net = self.net()
        dead = {stack.name: _kill(net, stack) for stack in net.stacks()}
        by_gate = self._scores(net, Methods())
        by_removal = self._scores(net, Methods("leave-one-out", "leave-one-out", "taylor", "leave-one-out"))
        for stack in net.stacks():
            size = stack.size(net.spec.dimensions())
            for layer, (head, neuron) in enumerate(dead[stack.name]):
                for part, index, number in (("heads", head, size.heads), ("ffn", neuron, size.ffn)):
                    where = f"{stack.name}, layer {layer}, {part} {index}"
                    own = getattr(by_gate.stacks[stack.name], part)[layer]
                    assert own[index] == 0, f"{where}: {float(own[index])} by Taylor, and nothing reads it"
                    # Of neurons behind a ReLU more may be dead.
                    assert 2 * int((own > 0).sum()) >= number - 1, f"{where}: others have no score either, {own}"
                removed = by_removal.stacks[stack.name].heads[layer]
                assert removed[head].abs() < 1e-6, f"{stack.name}, layer {layer}: removing a dead head costs {removed}"

    def test_importance_is_a_mean_over_samples(self) -> None:
        """The same batch twice gives the scores of the batch once."""
        net, batch = self.net(), self.batch()
        once = importance(net, [batch], self.loss)
        twice = importance(net, [batch, batch], self.loss)
        assert abs(once.loss - twice.loss) < 1e-6 * max(1.0, abs(once.loss))
        for name, scores in once.stacks.items():
            for part in PARTS:
                a, b = getattr(scores, part), getattr(twice.stacks[name], part)
                assert torch.allclose(a, b, rtol=1e-4, atol=1e-6), f"{name}: {part} differ"

    def _scores(self, net: Net, methods: Methods) -> Importance:
        """Of two batches of unlike size."""
        batch = self.batch()
        number = samples(batch)
        return importance(net, [batch, rows(batch, range(number - 1))], self.loss, methods, error_fn=self.loss)


def _faults(net: Net, stack: Stack, found: Importance) -> list[str]:
    size = stack.size(net.spec.dimensions())
    shapes = {
        "heads": (size.layers, size.heads),
        "ffn": (size.layers, size.ffn),
        "embed": (size.embed,),
        "layers": (size.layers,),
    }
    wrong = []
    for part, shape in shapes.items():
        scores = getattr(found.stacks[stack.name], part)
        if tuple(scores.shape) != shape:
            wrong.append(f"{stack.name}: {part} are {tuple(scores.shape)}, not {shape}")
        elif not bool(scores.isfinite().all()):
            wrong.append(f"{stack.name}: {part} are not finite")
        elif bool((scores == scores.flatten()[0]).all()):
            wrong.append(f"{stack.name}: {part} are all the same")
    return wrong


@torch.no_grad()
def _kill(net: Net, stack: Stack) -> list[tuple[int, int]]:
    """Zero what reads one head and one neuron of every block; which ones."""
    size, dead = stack.size(net.spec.dimensions()), []
    for layer, block in enumerate(net.blocks_of(stack)):
        head, neuron = layer % size.heads, (2 * layer + 1) % size.ffn
        for path, axis, channels in (
            (stack.context, "attention", head_channels(stack, head)),
            (stack.neurons, "ffn", torch.tensor([neuron])),
        ):
            module: Any = block.get_submodule(path)
            module.weight.index_fill_(stack.block_axes[f"{path}.weight"].index(axis), channels, 0.0)
        dead.append((head, neuron))
    return dead
