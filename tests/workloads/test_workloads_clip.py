"""The closed form of CLIP against published counts, and the laws that make whole spaces cheap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.workloads import blocks, clip, families
from catransformers.workloads.operators import Gemm
from catransformers.workloads.spec import ClipSpec
from catransformers.workloads.zoo import ZOO, named_spec


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # counts of open_clip's own models
        ("ViT-B-16", 149_620_737),
        ("ViT-B-32", 151_277_313),
        ("ViT-L-14", 427_616_513),
        ("ViT-H-14", 986_109_441),
    ],
)
def test_parameters_of_open_clip_models(name, parameters):
    assert clip.parameters(ZOO[name]) == parameters


def macs_of(spec, component):
    return sum(op.macs for op in families.workload(spec) if isinstance(op, Gemm) and op.component == component)


def test_vit_b_16_work_per_image_and_text():
    spec = named_spec("ViT-B/16")
    # By hand, vision: 12 blocks of (4·197·768² + 2·197²·768 + 8·197·768²) + patches 196·768·768 + projection 768·512.
    assert macs_of(spec, "vision") == 12 * (12 * 197 * 768**2 + 2 * 197**2 * 768) + 196 * 768 * 768 + 768 * 512
    assert macs_of(spec, "vision") == pytest.approx(17.56e9, rel=1e-3)
    assert macs_of(spec, "text") == pytest.approx(2.98e9, rel=1e-3)


def pruned_specs(name="ViT-B-16"):
    full = ZOO[name].dimensions()
    return st.fixed_dictionaries({key: st.integers(1, value) for key, value in full.items()}).map(
        ZOO[name].with_dimensions
    )


@given(pruned_specs())
def test_weight_bytes_are_the_parameters_at_eight_bits(spec):
    assert (
        families.workload(spec).weight_bytes == clip.parameters(spec) - 1
    )  # the logit scale is no weight of an operator


@given(pruned_specs())
def test_gemm_weights_and_biases_account_for_the_matrices(spec):
    for component, encoder in (("vision", spec.vision), ("text", spec.text)):
        layer = blocks.layer_workload(encoder, component)
        stored = sum(op.k * op.n * op.count for op in layer if isinstance(op, Gemm) and op.weights)
        biases = sum(op.n * op.count for op in layer if isinstance(op, Gemm) and op.bias)
        assert stored + biases + 4 * encoder.embed_dim == blocks.layer_parameters(encoder)


@given(pruned_specs(), st.integers(1, 5))
def test_texts_multiply_the_text_work_but_not_its_weights(spec, texts):
    one, many = families.workload(spec), families.workload(spec, texts)
    text_macs = macs_of(spec, "text")
    assert many.macs == one.macs + (texts - 1) * text_macs
    assert many.weight_bytes == one.weight_bytes


@given(pruned_specs())
def test_a_spec_survives_its_plain_form(spec):
    assert ClipSpec.from_dict(spec.to_dict()) == spec


def test_wrong_dimensions_are_told_all_at_once():
    with pytest.raises(InputError) as caught:
        ZOO["ViT-B-16"].with_dimensions({"vision.layer": 3, "text.heads": 9, "text.layers": 0})
    text = str(caught.value)
    assert "did you mean 'vision.layers'?" in text
    assert "1 to 8" in text
    assert "1 to 12" in text


def test_unknown_model_offers_the_nearest():
    with pytest.raises(InputError, match="ViT-B-16"):
        named_spec("ViTB16")


def test_damaged_spec_is_an_input_error():
    data = ZOO["ViT-B-16"].to_dict()
    del data["vision"]["heads"]
    with pytest.raises(InputError, match="heads"):
        ClipSpec.from_dict(data)


def test_a_working_set_holds_the_norm_beside_queries_keys_and_values():
    text = named_spec("ViT-B-16").with_dimensions({"text.heads": 6, "text.ffn_dim": 1024}).text
    s, d, a = text.tokens, text.embed_dim, text.attention_dim
    assert blocks.layer_workload(text, "text").activation_bytes == 2 * s * d + 3 * s * a


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("vision", "layers"), "six"),
        (("vision", "patch_size"), 0),
        (("text", "heads"), -1),
        (("text", "tokens"), 7.5),
        (("projection_dim",), True),
        (("activation",), "relu"),
        (("activation",), ["gelu"]),
    ],
)
def test_a_spec_of_impossible_values_is_an_input_error(place, value):
    data = ZOO["ViT-B-16"].to_dict()
    table = data
    for key in place[:-1]:
        table = table[key]
    table[place[-1]] = value
    with pytest.raises(InputError, match=place[-1]):
        ClipSpec.from_dict(data)
