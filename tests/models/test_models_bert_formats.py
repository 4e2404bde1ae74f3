"""Configurations and tensor names of Hugging Face's BERT family, there and back, and what is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from catransformers.errors import InputError, IntegrityError
from catransformers.models.families.bert import Bert
from catransformers.models.formats.bert import (
    add_classifier,
    spec_from_huggingface,
    tensors_from_huggingface,
    to_huggingface,
)
from catransformers.models.loading.storage import assign_tensors
from catransformers.workloads.bert import BertSpec, parameters
from catransformers.workloads.spec import EncoderSpec

SIZES = {
    "vocab_size": 30,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}
BERT = {"model_type": "bert", "architectures": ["BertModel"], **SIZES}
ROBERTA = SIZES | {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
DISTILBERT = {
    "vocab_size": 30,
    "dim": 24,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 40,
    "max_position_embeddings": 20,
}


def saved(
    transformers: Any, folder: Path, kind: str, settings: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, torch.Tensor], Any]:
    """The config.json, the tensors and the model that transformers wrote to a folder."""
    cls = getattr(transformers, kind)
    model = cls(cls.config_class(**settings)).eval()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(3)
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config, load_file(folder / "model.safetensors"), model


def loaded(config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Bert:
    spec = spec_from_huggingface(config, "config.json", tensors)
    torch.manual_seed(0)
    net = Bert(spec)
    assign_tensors(net, tensors_from_huggingface(spec, config, tensors, "model"), "model")
    return net.eval()


def small(**changes: Any) -> BertSpec:
    return replace(BertSpec(EncoderSpec(2, 40, 24, 4, 6, 20), 30, positions=20), **changes)


def randomised(spec: BertSpec) -> Bert:
    torch.manual_seed(0)
    net = Bert(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return net.eval()


TOKENS = torch.randint(2, 30, (4, 12), generator=torch.Generator().manual_seed(2))
MASK = torch.arange(12) < torch.tensor([[12], [1], [5], [8]])


@pytest.mark.parametrize(
    ("kind", "settings", "pooler"),
    [
        ("BertModel", SIZES, True),
        ("BertForMaskedLM", SIZES, False),
        ("BertForPreTraining", SIZES, True),
        ("BertForNextSentencePrediction", SIZES, True),
        ("BertForSequenceClassification", SIZES | {"num_labels": 4}, True),
        ("RobertaForMaskedLM", ROBERTA, False),
        ("RobertaForSequenceClassification", ROBERTA | {"num_labels": 4}, True),
        ("XLMRobertaForSequenceClassification", ROBERTA, True),
        ("DistilBertModel", DISTILBERT, False),
        ("DistilBertForMaskedLM", DISTILBERT, False),
        ("DistilBertForSequenceClassification", DISTILBERT | {"num_labels": 1}, True),
    ],
)
def test_what_transformers_saves_is_read_whole(
    transformers: Any, tmp_path: Path, kind: str, settings: dict[str, Any], pooler: bool
) -> None:
    config, tensors, model = saved(transformers, tmp_path, kind, settings)
    net = loaded(config, tensors)
    classes = settings.get("num_labels", 2) if kind.endswith("Classification") else 0
    assert (net.spec.pooler, net.spec.classes) == (pooler, classes)
    assert sum(p.numel() for p in net.parameters()) == parameters(net.spec)
    assert net.spec.encoder.tokens == net.spec.max_tokens == (18 if "Roberta" in kind else 20)
    tokens = TOKENS.masked_fill(~MASK, 1)
    with torch.no_grad():
        if classes:
            expected = model(input_ids=tokens, attention_mask=MASK.long()).logits
            assert (net.outputs({"tokens": tokens, "mask": MASK})["logits"] - expected).abs().max() <= 1e-6
        else:
            base = model.base_model(input_ids=tokens, attention_mask=MASK.long()).last_hidden_state
            assert (net.hidden(tokens, MASK) - base)[MASK].abs().max() <= 1e-6


def test_an_untouched_default_configuration_is_read(transformers: Any) -> None:
    for kind, width in (("BertConfig", 768), ("RobertaConfig", 768), ("DistilBertConfig", 768)):
        config = getattr(transformers, kind)().to_diff_dict()
        assert spec_from_huggingface(config, "config.json").encoder.embed_dim == width


def test_published_configurations_give_the_published_counts() -> None:
    """From the model cards' config.json; the counts with heads are the library's."""
    base = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
    }
    bert = base | {"model_type": "bert", "architectures": ["BertForMaskedLM"], "max_position_embeddings": 512}
    spec = spec_from_huggingface(bert | {"type_vocab_size": 2, "vocab_size": 30522}, "c", ["bert.pooler.dense.weight"])
    assert parameters(spec) == 109_482_240
    roberta = base | {
        "model_type": "roberta",
        "architectures": ["RobertaForSequenceClassification"],
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "pad_token_id": 1,
        "type_vocab_size": 1,
        "vocab_size": 50265,
    }
    spec = spec_from_huggingface(roberta, "c")
    assert parameters(spec) == 124_647_170
    assert (spec.max_tokens, spec.position_offset, spec.norm_eps) == (512, 2, 1e-5)
    distilbert = {
        "model_type": "distilbert",
        "architectures": ["DistilBertForSequenceClassification"],
        "activation": "gelu",
        "dim": 768,
        "hidden_dim": 3072,
        "n_heads": 12,
        "n_layers": 6,
        "max_position_embeddings": 512,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        "vocab_size": 30522,
    }
    assert parameters(spec_from_huggingface(distilbert, "c")) == 66_955_010


@pytest.mark.parametrize(
    "spec",
    [
        small(),
        small(classes=5, activation="gelu_tanh"),
        small(classes=0),
        small(classes=0, pooler=False, activation="relu"),
        small(encoder=EncoderSpec(2, 40, 24, 4, 6, 18), position_offset=2, norm_eps=1e-5, token_types=1),
        small(encoder=EncoderSpec(2, 40, 24, 4, 6, 18), position_offset=2, norm_eps=1e-5, token_types=1, classes=0),
        small(token_types=0, pooler_activation="relu"),
        small(token_types=0, pooler_activation="relu", pooler=False, classes=0),
    ],
)
def test_there_and_back_and_in_the_library_itself(transformers: Any, tmp_path: Path, spec: BertSpec) -> None:
    net = randomised(spec)
    config, tensors = to_huggingface(net)
    again = loaded(json.loads(json.dumps(config)), tensors)
    assert again.spec == spec
    assert set(again.state_dict()) == set(net.state_dict())
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name]), name

    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    cls = getattr(transformers, config["architectures"][0])  # type: ignore[index]
    options = {} if spec.pooler or not spec.token_types else {"add_pooling_layer": False}
    model, info = cls.from_pretrained(tmp_path, output_loading_info=True, local_files_only=True, **options)
    assert not any(info.values()), info
    tokens = TOKENS.masked_fill(~MASK, 1)
    with torch.no_grad():
        theirs = model.eval()(input_ids=tokens, attention_mask=MASK.long())
        if spec.classes:
            assert (net.outputs({"tokens": tokens, "mask": MASK})["logits"] - theirs.logits).abs().max() <= 1e-6
        else:
            assert (net.hidden(tokens, MASK) - theirs.last_hidden_state)[MASK].abs().max() <= 1e-6


@pytest.mark.parametrize(
    ("spec", "problems"),
    [
        (
            small(encoder=EncoderSpec(2, 40, 24, 3, 6, 20)),
            ["heads: 3 heads of 6 channels are not the 24 of Bert's residual stream"],
        ),
        (
            small(encoder=EncoderSpec(2, 40, 20, 4, 6, 20), pooler=False),
            ["heads: 4 heads", "pooler: Bert does not classify without"],
        ),
        (small(pooler_activation="relu"), ["pooler_activation: Bert has not 'relu'; allowed: tanh"]),
        (small(position_offset=2, token_types=0), ["token_types: Roberta has at least one"]),
        (
            small(token_types=0, classes=0, norm_eps=1e-5),
            ["pooler_activation: DistilBert", "pooler: DistilBert has none", "norm_eps: DistilBert has not 1e-05"],
        ),
    ],
)
def test_what_the_library_cannot_be_is_refused(spec: BertSpec, problems: list[str]) -> None:
    spec = replace(spec, encoder=replace(spec.encoder, tokens=spec.max_tokens))
    with pytest.raises(InputError) as caught:
        to_huggingface(Bert(spec))
    assert len(caught.value.problems) == len(problems)
    for found, expected in zip(caught.value.problems, problems, strict=True):
        assert str(found).startswith(expected)
    if "heads" in problems[0]:
        assert "own format" in caught.value.problems[0].hint


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type: 'relative_key' is not supported"),
        ({"is_decoder": True}, "is_decoder: True is not supported"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"hidden_act": "swish"}, "hidden_act: unknown activation 'swish'"),
        ({"hidden_act": ["gelu"]}, "hidden_act: unknown activation"),
        ({"num_attention_heads": 5}, "24 channels are not divisible by 5 heads"),
        ({"num_attention_heads": 0}, "num_attention_heads: 0 is not a size"),
        ({"vocab_size": None}, "vocab_size: missing"),
        ({"hidden_size": "24"}, "hidden_size: '24' is not a size"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps"),
        ({"architectures": ["BertForTokenClassification"]}, "unknown class 'BertForTokenClassification'"),
        ({"architectures": ["RobertaModel"]}, "unknown class 'RobertaModel'"),
        ({"architectures": ["BertForSequenceClassification"], "num_labels": -1}, "num_labels: -1"),
        ({"model_type": "albert"}, "unknown kind of BERT 'albert'"),
        ({"model_type": None}, "unknown kind of BERT 'None'"),
        ({"model_type": "roberta", "architectures": None, "max_position_embeddings": 2}, "rows are all before"),
    ],
)
def test_what_the_net_cannot_be_is_named(change: dict[str, Any], word: str) -> None:
    assert spec_from_huggingface(BERT, "here/config.json") == small(classes=0)
    with pytest.raises(InputError) as caught:
        spec_from_huggingface(BERT | change, "here/config.json")
    assert word in str(caught.value)
    assert all(p.where.startswith("here/config.json: ") for p in caught.value.problems)


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {"is_decoder": True, "hidden_act": "swish", "hidden_size": 25, "vocab_size": 0, "architectures": ["X"]}
    with pytest.raises(InputError) as caught:
        spec_from_huggingface(BERT | wrong, "c")
    assert {p.where for p in caught.value.problems} == {f"c: {key}" for key in wrong}


def test_only_the_listed_tensors_are_dropped() -> None:
    net = randomised(small(classes=0))
    config, tensors = to_huggingface(net)
    extra = torch.zeros(1)
    harmless = ["embeddings.position_ids", "cls.predictions.bias", "cls.seq_relationship.weight"]
    spec = spec_from_huggingface(config, "c")
    with_extras = {f"bert.{name}": tensor for name, tensor in tensors.items()} | dict.fromkeys(harmless, extra)
    with_extras["bert.embeddings.position_ids"] = extra
    found = tensors_from_huggingface(spec, config, with_extras, "m")
    assert set(found) == set(net.state_dict())
    for foreign in ("lm_head.bias", "classifier.weight", "bert.encoder.layer.0.crossattention.self.query.weight"):
        found = tensors_from_huggingface(spec, config, tensors | {foreign: extra}, "m")
        with pytest.raises(IntegrityError, match=f"unexpected {foreign.removeprefix('bert.')}"):
            assign_tensors(Bert(spec), found, "m")
    del tensors["pooler.dense.bias"]
    with pytest.raises(IntegrityError, match=r"missing pooler\.dense\.bias"):
        assign_tensors(Bert(spec), tensors_from_huggingface(spec, config, tensors, "m"), "m")
    both = with_extras | {"embeddings.LayerNorm.weight": extra}
    with pytest.raises(InputError, match=r"two tensors are embeddings\.LayerNorm\.weight"):
        tensors_from_huggingface(spec, config, both, "m")


def test_the_first_releases_names_of_norms_are_known() -> None:
    net = randomised(small())
    config, tensors = to_huggingface(net)
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    assert set(renamed) != set(tensors)
    again = loaded(config, renamed)
    assert torch.equal(again(TOKENS), net(TOKENS))


def test_a_pooler_beside_robertas_own_head_is_dropped() -> None:
    spec = small(encoder=EncoderSpec(2, 40, 24, 4, 6, 18), position_offset=2, token_types=1)
    net = randomised(spec)
    config, tensors = to_huggingface(net)
    tensors |= {f"roberta.pooler.dense.{name}": torch.zeros(1) for name in ("weight", "bias")}
    assert torch.equal(loaded(config, tensors)(TOKENS), net(TOKENS))


@pytest.mark.parametrize("pooler", [True, False])
def test_a_fresh_classifier_stands_behind_the_same_encoder(pooler: bool) -> None:
    net = randomised(small(classes=0, pooler=pooler, pooler_activation="relu"))
    before = torch.get_rng_state()
    made = add_classifier(net, 3, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    assert made.spec == replace(net.spec, classes=3, pooler=True)
    assert not made.training
    own, new = net.state_dict(), made.state_dict()
    assert all(torch.equal(new[name], own[name]) for name in own)
    assert set(new) - set(own) >= {"classifier.weight", "classifier.bias"}
    assert ("pooler.dense.weight" in set(new) - set(own)) is not pooler
    assert 0.01 < new["classifier.weight"].std() < 0.03
    assert bool((new["classifier.bias"] == 0).all())
    same, other = add_classifier(net, 3, seed=7), add_classifier(net, 3, seed=8)
    assert torch.equal(same(TOKENS), made(TOKENS))
    assert not torch.equal(other(TOKENS), made(TOKENS))
    with torch.no_grad():  # independent of the net that it was made from
        for parameter in net.parameters():
            parameter.zero_()
    assert torch.equal(same(TOKENS), made(TOKENS))
    made(TOKENS).sum().backward()
    assert made.classifier is not None
    assert made.classifier.weight.grad is not None
    with pytest.raises(InputError, match="has a classifier already, of 3 classes"):
        add_classifier(made, 3, seed=0)
    with pytest.raises(InputError, match="0 is out of range"):
        add_classifier(net, 0, seed=0)
