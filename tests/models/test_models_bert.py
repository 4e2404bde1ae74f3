"""Bert against transformers: the same outputs, with and without padding, and what pruning may rely on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from catransformers.errors import InputError
from catransformers.models.families.bert import Bert
from catransformers.models.families.nets import make_net
from catransformers.models.formats.bert import spec_from_huggingface, tensors_from_huggingface
from catransformers.models.loading.storage import assign_tensors
from catransformers.models.tracing.trace import count_parameters, trace
from catransformers.workloads.bert import BertSpec, parameters
from catransformers.workloads.families import spec_from_dict, workload
from catransformers.workloads.operators import VectorOp
from catransformers.workloads.spec import EncoderSpec
from catransformers.workloads.zoo import named_spec

VOCABULARY = 50
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}
DISTILBERT = {
    "vocab_size": VOCABULARY,
    "dim": 24,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 40,
    "max_position_embeddings": 20,
}
MINILM = SIZES | {"hidden_size": 48, "num_attention_heads": 12, "intermediate_size": 96}
ROBERTA = SIZES | {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
#: Class and settings.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertModel", SIZES),
    "bert classifier": ("BertForSequenceClassification", SIZES | {"num_labels": 3}),
    "bert two classes, tanh formula": ("BertForSequenceClassification", SIZES | {"hidden_act": "gelu_new"}),
    "minilm": ("BertModel", MINILM),
    "roberta": ("RobertaModel", ROBERTA),
    "roberta classifier": ("RobertaForSequenceClassification", ROBERTA | {"num_labels": 3}),
    "xlm-r classifier": ("XLMRobertaForSequenceClassification", ROBERTA | {"hidden_act": "relu"}),
    "distilbert": ("DistilBertModel", DISTILBERT),
    "distilbert classifier": ("DistilBertForSequenceClassification", DISTILBERT | {"num_labels": 5}),
}


def reference(transformers: Any, kind: str, settings: dict[str, Any]) -> Any:
    """A model of transformers with all of its weights random, so that none is a zero, a one or shared."""
    cls = getattr(transformers, kind)
    model = cls(cls.config_class(**settings)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def configuration(model: Any) -> dict[str, Any]:
    """As `save_pretrained` writes it to config.json."""
    return model.config.to_diff_dict() | {"architectures": [type(model).__name__]}


def converted(model: Any) -> Bert:
    config, tensors = configuration(model), model.state_dict()
    spec = spec_from_huggingface(config, "config.json", tensors)
    torch.manual_seed(0)
    net = Bert(spec)
    assign_tensors(net, tensors_from_huggingface(spec, config, tensors, "model"), "model")
    return net.eval()


def batch(rows: int = 6, s: int = 18) -> dict[str, Tensor]:
    """Texts of 1 … s real tokens, padded with 1 (RoBERTa's), pairs of types, none of them padding by accident."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.tensor([[s], [1], [2], [s - 1], [s // 2], [7]])[:rows]
    mask = torch.arange(s) < lengths
    tokens = torch.randint(2, VOCABULARY, (rows, s), generator=generator).masked_fill(~mask, 1)
    types = (torch.arange(s) >= lengths // 2).long() * mask
    return {"tokens": tokens, "mask": mask, "types": types}


def theirs(model: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    inputs = {"input_ids": given["tokens"]}
    if "mask" in given:
        inputs["attention_mask"] = given["mask"].long()
    if "types" in given and getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = given["types"]
    with torch.no_grad():
        return dict(model(**inputs))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("keys", [("tokens", "mask", "types"), ("tokens", "mask"), ("tokens",)], ids="+".join)
def test_outputs_are_those_of_transformers(transformers: Any, name: str, keys: tuple[str, ...]) -> None:
    model = reference(transformers, *MODELS[name])
    net = converted(model)
    inputs = {key: value for key, value in batch().items() if key in keys}
    if "mask" not in keys:  # RoBERTa counts its positions by what is not padding
        inputs["tokens"] = inputs["tokens"].clamp(min=2)
    if net.spec.token_types < 2:
        inputs.pop("types", None)
    expected = theirs(model, inputs)
    with torch.no_grad():
        found = net.outputs(inputs)
        hidden = net.hidden(**inputs)
    if net.spec.classes:
        assert list(found) == ["logits"]
        assert (found["logits"] - expected["logits"]).abs().max() <= 1e-6
        assert found["logits"].std() > 0.1  # nothing to agree on but zeros otherwise
        return
    real = inputs.get("mask", torch.ones_like(inputs["tokens"]).bool())
    states = expected["last_hidden_state"]
    assert (hidden - states)[real].abs().max() <= 1e-6
    assert list(found) == ["features"]
    if net.spec.pooler:
        assert (found["features"] - expected["pooler_output"]).abs().max() <= 1e-6
    else:
        mean = torch.stack([states[row, real[row]].mean(dim=0) for row in range(len(states))])
        assert (found["features"] - mean).abs().max() <= 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_counts_are_the_closed_form_and_the_librarys(transformers: Any, name: str) -> None:
    model = reference(transformers, *MODELS[name])
    net = converted(model)
    own = sum(p.numel() for p in net.parameters())
    assert own == parameters(net.spec) == model.num_parameters()


@pytest.mark.parametrize("name", ["bert-base", "distilbert-base", "MiniLM-L6-H384"])
@pytest.mark.parametrize("pruned", [False, True])
def test_multiply_accumulates_and_values_are_those_of_the_closed_form(name: str, pruned: bool) -> None:
    spec = named_spec(name)
    assert isinstance(spec, BertSpec)
    if pruned:  # seven heads of 64 or 32 channels on a stream of 101
        spec = spec.with_dimensions({"layers": 2, "heads": 7, "embed_dim": 101, "ffn_dim": 333, "tokens": 64})
    net = make_net(spec, empty=True).eval()
    tokens = torch.zeros(1, spec.encoder.tokens, dtype=torch.int64, device="meta")
    work = trace(net, tokens)
    assert work.macs == workload(spec).macs
    assert count_parameters(net) == parameters(spec) == work.weight_bytes
    for kind in ("softmax", "activation", "add", "norm"):
        found, expected = (
            sum(op.elements for op in each if isinstance(op, VectorOp) and op.kind == kind)
            for each in (work, workload(spec))
        )
        assert found == expected, kind


def test_the_mean_of_the_real_tokens_is_the_sentence_embedding_without_pooler() -> None:
    torch.manual_seed(0)
    net = Bert(small(pooler=False, classes=0)).eval()
    inputs = batch()
    with torch.no_grad():
        hidden, features = net.hidden(**inputs), net.outputs(inputs)["features"]
    for row, length in enumerate(inputs["mask"].sum(dim=1).tolist()):
        torch.testing.assert_close(features[row], hidden[row, :length].mean(dim=0), atol=1e-6, rtol=0)


def small(**changes: Any) -> BertSpec:
    return replace(BertSpec(EncoderSpec(3, 40, 24, 4, 6, 20), VOCABULARY, positions=20), **changes)


def randomised(spec: BertSpec) -> Bert:
    torch.manual_seed(0)
    net = Bert(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return net.eval()


def test_what_is_padding_has_no_effect() -> None:
    net = randomised(small())
    inputs = batch()
    other = dict(
        inputs, tokens=inputs["tokens"].where(inputs["mask"], 7), types=inputs["types"].where(inputs["mask"], 1)
    )
    with torch.no_grad():
        torch.testing.assert_close(net.outputs(inputs)["logits"], net.outputs(other)["logits"], atol=1e-6, rtol=0)
        for row, length in enumerate(inputs["mask"].sum(dim=1).tolist()):
            alone = {key: value[row : row + 1, :length] for key, value in inputs.items()}
            torch.testing.assert_close(
                net.outputs(alone)["logits"][0], net.outputs(inputs)["logits"][row], atol=1e-6, rtol=0
            )


def test_without_pooler_the_classifier_reads_the_first_token() -> None:
    net = randomised(small(pooler=False))
    inputs = batch()
    with torch.no_grad():
        expected = net.classifier(net.hidden(**inputs)[:, 0])
        torch.testing.assert_close(net.outputs(inputs)["logits"], expected)


def test_texts_longer_than_the_table_of_positions_are_refused() -> None:
    net = Bert(small(position_offset=2))
    with torch.no_grad():
        assert net(torch.ones(1, 18, dtype=torch.int64)).shape == (1, 2)
    with pytest.raises(InputError, match="texts of 19 tokens are too long; allowed: 1 to 18"):
        net(torch.ones(1, 19, dtype=torch.int64))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 3),
)
def test_any_shape_runs_forward_and_backward_and_has_the_parameters_of_the_closed_form(
    layers: int, ffn: int, embed: int, heads: int, head_dim: int, types: int, pooler: bool, classes: int
) -> None:
    encoder = EncoderSpec(layers, ffn, embed, heads, head_dim, 20)
    net = Bert(BertSpec(encoder, VOCABULARY, 20, types, pooler, classes))
    assert sum(p.numel() for p in net.parameters()) == parameters(net.spec)
    assert not list(net.buffers())
    inputs = batch()
    if types < 2:
        inputs.pop("types")
    (output,) = net.outputs(inputs).values()
    assert output.shape == (6, classes or embed)
    torch.nn.functional.mse_loss(output, torch.ones_like(output)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize(
    "spec",
    [small(), small(token_types=0), small(pooler=False), small(classes=0), small(pooler=False, classes=0)],
)
def test_every_tensor_is_in_the_stack_and_its_axes_have_their_sizes(spec: BertSpec) -> None:
    net = Bert(replace(spec, encoder=EncoderSpec(3, 40, 24, 5, 7, 20)))
    (stack,) = net.stacks()
    sizes = {
        "embed": 24,
        "ffn": 40,
        "attention": 5 * stack.head_size,
        "vocabulary": VOCABULARY,
        "position": 20,
        "type": 2,
        "class": 2,
    }
    blocks = {f"{stack.blocks}.{i}.{name}": axes for i in range(3) for name, axes in stack.block_axes.items()}
    everything = dict(stack.stem_axes) | blocks
    state = net.state_dict()
    assert set(everything) == set(state)
    for name, axes in everything.items():
        assert tuple(sizes[axis] for axis in axes) == tuple(state[name].shape), name
    assert stack.dimensions(stack.size(net.spec.dimensions())) == net.spec.dimensions()


def test_the_modules_that_the_stack_names_see_what_it_says() -> None:
    net = randomised(small(encoder=EncoderSpec(3, 40, 24, 5, 7, 20)))
    (stack,) = net.stacks()
    widths: dict[str, int] = {}

    def watch(module: nn.Module, name: str) -> None:
        module.register_forward_pre_hook(lambda _, args: widths.update({name: args[0].shape[-1]}))

    for block in net.blocks_of(stack):
        for name in (stack.context, stack.neurons):
            watch(block.get_submodule(name), name)
        for name in stack.norms:
            norm = block.get_submodule(name)
            assert isinstance(norm, nn.LayerNorm)
            watch(norm, name)
    for name in stack.outer_norms:
        watch(net.get_submodule(name), name)
    net.outputs({key: value for key, value in batch().items() if key in stack.inputs})
    norms = dict.fromkeys((*stack.norms, *stack.outer_norms), 24)
    assert widths == {stack.context: 35, stack.neurons: 40, **norms}
    named = {f"{stack.blocks}.{i}.{name}" for i in range(3) for name in stack.norms} | set(stack.outer_norms)
    assert named == {name for name, module in net.named_modules() if isinstance(module, nn.LayerNorm)}


def test_new_settings_of_the_spec_are_read_checked_and_may_be_missing() -> None:
    spec = small(norm_eps=1e-5, position_offset=2, activation="relu", pooler_activation="relu")
    spec = replace(spec, encoder=replace(spec.encoder, tokens=18))
    assert spec_from_dict(spec.to_dict()) == spec
    assert spec.with_dimensions({"tokens": 18}) == spec
    with pytest.raises(InputError, match="tokens: 19 is out of range; allowed: 1 to 18"):
        spec.with_dimensions({"tokens": 19})
    older = small().to_dict()
    for name in ("norm_eps", "position_offset", "activation", "pooler_activation"):
        del older[name]
    assert spec_from_dict(older) == small()
    wrong = small().to_dict() | {
        "norm_eps": -1,
        "position_offset": -1,
        "activation": "swish",
        "pooler_activation": True,
    }
    with pytest.raises(InputError) as caught:
        spec_from_dict(wrong)
    assert [p.where.removeprefix("model spec: ") for p in caught.value.problems] == [
        "position_offset",
        "activation",
        "pooler_activation",
        "norm_eps",
    ]
    for eps in (float("nan"), True, "1e-5", None):
        with pytest.raises(InputError, match="norm_eps"):
            spec_from_dict(small().to_dict() | {"norm_eps": eps})
    with pytest.raises(InputError, match="tokens"):
        spec_from_dict(small(position_offset=1).to_dict())
