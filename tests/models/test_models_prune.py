"""Pruning: removal equals zeroing or skipping, counts equal the closed form, nothing is lost or shared."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from catransformers.errors import InputError, IntegrityError
from catransformers.models.families.clip import Clip
from catransformers.models.loading.storage import load_model, save_model
from catransformers.models.pruning.importance import Importance, StackImportance
from catransformers.models.pruning.prune import (
    Selection,
    StackSelection,
    extract,
    prune,
    ranked,
    select,
    sliced,
    sorted_net,
    top,
)
from catransformers.models.pruning.removal import skipped
from catransformers.workloads.clip import parameters
from catransformers.workloads.spec import ClipSpec, EncoderSpec, TextSpec, VisionSpec

SPEC = ClipSpec(
    vision=VisionSpec(layers=4, ffn_dim=24, embed_dim=16, heads=4, head_dim=4, tokens=5, image_size=8, patch_size=4),
    text=TextSpec(layers=3, ffn_dim=20, embed_dim=12, heads=4, head_dim=3, tokens=6, vocab_size=17),
    projection_dim=8,
)


def make_model(spec: ClipSpec = SPEC, seed: int = 0) -> Clip:
    """A model whose every tensor is random: no zero biases, no norm that is the identity."""
    generator = torch.Generator().manual_seed(seed)
    model = Clip(spec).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if "ln_" in name and name.endswith("weight") else 0.4 * noise)
    return model


def make_scores(spec: ClipSpec = SPEC, seed: int = 0) -> Importance:
    generator = torch.Generator().manual_seed(seed)

    def encoder(e: EncoderSpec) -> StackImportance:
        shapes = ((e.layers, e.heads), (e.layers, e.ffn_dim), (e.embed_dim,), (e.layers,))
        return StackImportance(*(torch.rand(shape, generator=generator) for shape in shapes))

    return Importance({"vision": encoder(spec.vision), "text": encoder(spec.text)}, 1.0)


def make_batch(spec: ClipSpec = SPEC, number: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(9)
    size = spec.vision.image_size
    images = torch.randn(number, 3, size, size, generator=generator)
    tokens = torch.randint(1, spec.text.vocab_size - 1, (number, spec.text.tokens), generator=generator)
    tokens[:, -1] = spec.text.vocab_size - 1
    return images, tokens


def outputs(model: Clip) -> tuple[Tensor, Tensor]:
    images, tokens = make_batch(model.spec)
    with torch.no_grad():
        return model.encode_image(images), model.encode_text(tokens)


def assert_close(a: Clip, b: Clip) -> None:
    for left, right in zip(outputs(a), outputs(b), strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=0)


def full(spec: ClipSpec = SPEC) -> Selection:
    def encoder(e: EncoderSpec) -> StackSelection:
        return StackSelection(
            layers=tuple(range(e.layers)),
            embed=tuple(range(e.embed_dim)),
            heads=(tuple(range(e.heads)),) * e.layers,
            ffn=(tuple(range(e.ffn_dim)),) * e.layers,
        )

    return {"vision": encoder(spec.vision), "text": encoder(spec.text)}


COMPONENTS = ("vision", "text")


def transformer(model: Clip, component: str) -> torch.nn.Module:
    return model.visual.transformer if component == "vision" else model.transformer


def test_full_size_is_bit_identical_and_independent() -> None:
    base = make_model()
    copy = prune(base, SPEC, make_scores())
    for left, right in zip(outputs(base), outputs(copy), strict=True):
        assert torch.equal(left, right)
    before = outputs(base)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    assert all(torch.equal(x, y) for x, y in zip(before, outputs(base), strict=True))
    assert all(parameter.requires_grad for parameter in copy.parameters())


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_spec_has_the_closed_form_of_parameters_and_runs(data: st.DataObject) -> None:
    dims = {name: data.draw(st.integers(1, own), label=name) for name, own in SPEC.dimensions().items()}
    spec = SPEC.with_dimensions(dims)
    pruned = prune(make_model(), spec, make_scores(seed=data.draw(st.integers(0, 5), label="seed")))
    assert pruned.spec == spec
    assert sum(p.numel() for p in pruned.parameters()) == parameters(spec)
    image, text = outputs(pruned)
    assert image.shape == text.shape == (5, SPEC.projection_dim)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(5))
    assert bool(text.isfinite().all())


@pytest.mark.parametrize("component", COMPONENTS)
def test_removing_heads_equals_zeroing_their_columns(component: str) -> None:
    base = make_model()
    encoder = getattr(SPEC, component)
    kept = tuple((i % 2, i % 2 + 2) for i in range(encoder.layers))
    chosen = {**full(), component: replace(full()[component], heads=kept)}
    zeroed = make_model()
    e = encoder.head_dim
    with torch.no_grad():
        for block, heads in zip(transformer(zeroed, component).resblocks, kept, strict=True):
            for head in set(range(encoder.heads)) - set(heads):
                block.attn.out_proj.weight[:, head * e : (head + 1) * e] = 0
    assert_close(extract(base, chosen), zeroed)


@pytest.mark.parametrize("component", COMPONENTS)
def test_removing_neurons_equals_zeroing_their_columns(component: str) -> None:
    base = make_model()
    encoder = getattr(SPEC, component)
    kept = tuple(tuple(range(i, encoder.ffn_dim, 2))[:8] for i in range(encoder.layers))
    chosen = {**full(), component: replace(full()[component], ffn=kept)}
    zeroed = make_model()
    with torch.no_grad():
        for block, neurons in zip(transformer(zeroed, component).resblocks, kept, strict=True):
            gone = sorted(set(range(encoder.ffn_dim)) - set(neurons))
            block.mlp.c_proj.weight[:, gone] = 0
    assert_close(extract(base, chosen), zeroed)


@pytest.mark.parametrize("component", COMPONENTS)
def test_removing_layers_equals_skipping_them(component: str) -> None:
    base = make_model()
    encoder = full()[component]
    chosen = {**full(), component: replace(encoder, layers=(0, 2), heads=encoder.heads[:2], ffn=encoder.ffn[:2])}
    pruned = extract(base, chosen)
    blocks = transformer(base, component).resblocks
    with skipped(blocks[1]):
        if component == "vision":
            with skipped(blocks[3]):
                assert_close(pruned, base)
        else:
            assert_close(pruned, base)


@pytest.mark.parametrize("component", COMPONENTS)
def test_removing_channels_keeps_the_others_numbers(component: str) -> None:
    base = make_model()
    kept = (0, 3, 4, 7, 10, 11)
    chosen = {**full(), component: replace(full()[component], embed=kept)}
    pruned = extract(base, chosen)
    index = list(kept)
    if component == "vision":
        pairs = [
            (pruned.visual.conv1.weight, base.visual.conv1.weight[index]),
            (pruned.visual.class_embedding, base.visual.class_embedding[index]),
            (pruned.visual.proj, base.visual.proj[index]),
            (pruned.visual.ln_pre.bias, base.visual.ln_pre.bias[index]),
            (pruned.token_embedding.weight, base.token_embedding.weight),
        ]
    else:
        pairs = [
            (pruned.token_embedding.weight, base.token_embedding.weight[:, index]),
            (pruned.text_projection, base.text_projection[index]),
            (pruned.positional_embedding, base.positional_embedding[:, index]),
            (pruned.visual.conv1.weight, base.visual.conv1.weight),
        ]
    for new, old in zip(transformer(pruned, component).resblocks, transformer(base, component).resblocks, strict=True):
        pairs += [
            (new.attn.in_proj_weight, old.attn.in_proj_weight[:, index]),
            (new.attn.in_proj_bias, old.attn.in_proj_bias),
            (new.attn.out_proj.weight, old.attn.out_proj.weight[index]),
            (new.mlp.c_fc.weight, old.mlp.c_fc.weight[:, index]),
            (new.mlp.c_proj.bias, old.mlp.c_proj.bias[index]),
            (new.ln_2.weight, old.ln_2.weight[index]),
        ]
    assert all(torch.equal(left, right) for left, right in pairs)


def test_pruning_one_encoder_leaves_the_other_as_it_is() -> None:
    base = make_model()
    pruned = prune(base, SPEC.with_dimensions({"text.embed_dim": 11, "text.layers": 2}), make_scores())
    (image, text), (image_pruned, text_pruned) = outputs(base), outputs(pruned)
    assert torch.equal(image, image_pruned)
    assert not torch.allclose(text, text_pruned)


def test_order_of_pruning_does_not_matter() -> None:
    """Dimension by dimension, in every order, gives the same weights as all at once."""
    base, scores = make_model(), make_scores()
    dims = {"vision.layers": 2, "vision.heads": 2, "vision.ffn_dim": 10, "vision.embed_dim": 9}
    at_once = prune(base, SPEC.with_dimensions(dims), scores).state_dict()
    for order in itertools.permutations(dims):
        model, left = base, scores
        for name in order:
            spec = model.spec.with_dimensions({name: dims[name]})
            kept = select(model, spec.dimensions(), left)["vision"]
            model = prune(model, spec, left)
            v = left.stacks["vision"]
            layers = list(kept.layers)
            vision = StackImportance(
                heads=torch.stack([v.heads[i][list(h)] for i, h in zip(layers, kept.heads, strict=True)]),
                ffn=torch.stack([v.ffn[i][list(f)] for i, f in zip(layers, kept.ffn, strict=True)]),
                embed=v.embed[list(kept.embed)],
                layers=v.layers[layers],
            )
            left = replace(left, stacks={**left.stacks, "vision": vision})
        assert all(torch.equal(tensor, at_once[name]) for name, tensor in model.state_dict().items())


def test_the_most_important_parts_stay_in_their_order() -> None:
    assert top(torch.tensor([0.1, 5.0, 3.0, 4.0]), 2) == (1, 3)
    assert top(torch.ones(6), 3) == (0, 1, 2)  # equals: the earlier ones
    with pytest.raises(ValueError, match="finite"):
        top(torch.tensor([1.0, float("nan")]), 1)
    scores = make_scores()
    wanted = SPEC.with_dimensions({"vision.layers": 1, "vision.heads": 1}).dimensions()
    kept, vision = select(make_model(), wanted, scores)["vision"], scores.stacks["vision"]
    best = int(vision.layers.argmax())
    assert kept.layers == (best,)
    assert kept.heads == ((int(vision.heads[best].argmax()),),)


@pytest.mark.parametrize("dimension", list(SPEC.dimensions()))
def test_half_of_each_dimension_trains_and_reloads(dimension: str, tmp_path) -> None:
    spec = SPEC.with_dimensions({dimension: SPEC.dimensions()[dimension] // 2})
    pruned = prune(make_model(), spec, make_scores())
    images, tokens = make_batch()
    pruned(images, tokens).square().mean().backward()
    gradients = [p.grad for p in pruned.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
    torch.optim.SGD(pruned.parameters(), lr=0.01).step()
    save_model(pruned, tmp_path / "pruned.safetensors")
    again = load_model(tmp_path / "pruned.safetensors")
    assert again.spec == spec
    assert all(torch.equal(x, y) for x, y in zip(outputs(pruned), outputs(again), strict=True))


def test_growing_or_changing_what_is_fixed_is_refused_with_all_names() -> None:
    wide = replace(SPEC, vision=replace(SPEC.vision, layers=5), text=replace(SPEC.text, heads=9))
    with pytest.raises(InputError) as caught:
        prune(make_model(), wide, make_scores())
    assert [p.where for p in caught.value.problems] == ["vision.layers", "text.heads"]
    with pytest.raises(InputError, match="more than its prunable dimensions"):
        prune(make_model(), replace(SPEC, projection_dim=4), make_scores())


def test_a_tensor_that_pruning_does_not_know_is_named() -> None:
    model = make_model()
    model.register_parameter("novelty", torch.nn.Parameter(torch.zeros(3)))
    with pytest.raises(IntegrityError, match="novelty"):
        prune(model, SPEC, make_scores())
    model = make_model()
    del model.visual.ln_pre.bias
    with pytest.raises(IntegrityError, match=r"visual\.ln_pre\.bias"):
        prune(model, SPEC, make_scores())


def test_the_mode_is_kept() -> None:
    assert not prune(make_model().eval(), SPEC, make_scores()).training
    assert prune(make_model().train(), SPEC, make_scores()).training


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 9))
def test_ranks_of_blocks(values: list[int], block: int) -> None:
    """Blocks stand together, the one of the highest mean first, and within a block the highest score."""
    order = ranked(torch.tensor(values, dtype=torch.float32), block)
    assert sorted(order) == list(range(len(values)))
    means = [sum(values[b : b + block]) / len(values[b : b + block]) for b in range(0, len(values), block)]
    seen = list(dict.fromkeys(index // block for index in order))
    assert [index // block for index in order] == [b for b in seen for _ in values[b * block : (b + 1) * block]]
    assert all(means[a] >= means[b] - 1e-9 for a, b in itertools.pairwise(seen))
    for one, other in itertools.pairwise(order):
        if one // block == other // block:
            assert values[one] >= values[other]


def test_neurons_go_in_blocks_of_neighbours() -> None:
    spec = SPEC.with_dimensions({"vision.ffn_dim": 12, "text.ffn_dim": 8})
    kept = select(make_model(), spec.dimensions(), make_scores(), ffn_block=4)
    for stack in kept.values():
        for neurons in stack.ffn:
            blocks = {neuron // 4 for neuron in neurons}
            assert len(blocks) * 4 == len(neurons)
    singly = select(make_model(), spec.dimensions(), make_scores())
    assert singly["vision"].ffn != kept["vision"].ffn
    assert singly["vision"].heads == kept["vision"].heads
    pruned = prune(make_model(), spec, make_scores(), ffn_block=4)
    rows = list(kept["vision"].ffn[1])
    base = make_model().visual.transformer.resblocks[1].mlp.c_fc.weight
    assert torch.equal(pruned.visual.transformer.resblocks[1].mlp.c_fc.weight, base[rows])


def test_a_number_that_is_no_multiple_of_the_block_takes_the_best_of_the_last_block() -> None:
    scores = torch.tensor([5.0, 5.0, 1.0, 4.0, 0.0, 0.0])
    assert top(scores, 3, block=2) == (0, 1, 3)
    assert top(scores, 6, block=4) == tuple(range(6))


def test_a_sorted_net_gives_the_same_outputs() -> None:
    base, scores = make_model(), make_scores()
    arranged = sorted_net(base, scores)
    assert arranged.spec == SPEC
    assert not torch.equal(arranged.visual.class_embedding, base.visual.class_embedding)
    for left, right in zip(outputs(base), outputs(arranged), strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_slice_of_a_sorted_net_is_a_pruned_net(data: st.DataObject) -> None:
    """Pruning is slicing, up to the order of channels, heads and neurons, for any size."""
    base, scores = make_model(), make_scores(seed=data.draw(st.integers(0, 3), label="seed"))
    dims = {name: data.draw(st.integers(1, own), label=name) for name, own in SPEC.dimensions().items()}
    spec = SPEC.with_dimensions(dims)
    layers = {name: top(stack.layers, dims[f"{name}.layers"]) for name, stack in scores.stacks.items()}
    sliced_net = sliced(sorted_net(base, scores), spec, layers)
    assert sliced_net.spec == spec
    # A norm over one or two channels divides by a difference that may be nearly nothing: there, the order shows.
    if min(dims["vision.embed_dim"], dims["text.embed_dim"]) >= 4:
        for left, right in zip(outputs(prune(base, spec, scores)), outputs(sliced_net), strict=True):
            torch.testing.assert_close(left, right, atol=1e-5, rtol=0)


def test_slicing_takes_the_first_layers_unless_told_and_refuses_to_grow() -> None:
    base = make_model()
    spec = SPEC.with_dimensions({"vision.layers": 2})
    assert_close(sliced(base, spec), sliced(base, spec, {"vision": (1, 0)}))
    with pytest.raises(InputError, match=r"text\.heads"):
        sliced(base, replace(SPEC, text=replace(SPEC.text, heads=9)))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_base_in_half_precision_gives_a_net_to_train(kind: torch.dtype) -> None:
    base = make_model().to(kind)
    pruned = prune(base, SPEC.with_dimensions({"vision.embed_dim": 7}), make_scores())
    assert {p.dtype for p in pruned.parameters()} == {torch.float32}
    assert {p.dtype for p in base.parameters()} == {kind}
    whole = prune(base, SPEC, make_scores())
    assert torch.equal(whole.visual.proj, base.visual.proj.float())
    for left, right in zip(outputs(base), outputs(whole), strict=True):
        torch.testing.assert_close(left.float(), right, atol=0.15, rtol=0)
