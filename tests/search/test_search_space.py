"""The model space: sizes that the paper and the design name, numbering that is a bijection, overrides and mistakes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.search.space import model_space
from catransformers.workloads.zoo import ZOO, named_spec

B16 = ZOO["ViT-B-16"]


def test_sizes():
    vision, text = model_space(B16).shape[:4], model_space(B16).shape[4:]
    assert (np.prod(vision), np.prod(text)) == (1225, 875)
    assert model_space(B16).size == 1_071_875
    assert model_space(named_spec("embedded")).size == 90_000


def test_default_values_run_from_half_to_all():
    values = model_space(B16).values
    assert values["vision.layers"] == (6, 7, 8, 9, 10, 11, 12)
    assert values["vision.embed_dim"] == (384, 480, 576, 672, 768)
    assert values["text.ffn_dim"] == (1024, 1280, 1536, 1792, 2048)
    assert values["text.heads"] == (4, 5, 6, 7, 8)


@given(st.integers(0, 1_071_874))
def test_numbering_is_a_bijection(index):
    space = model_space(B16)
    dimensions = space.dimensions(index)
    assert space.index(dimensions) == index
    assert space.spec(index).dimensions() == dimensions
    assert space.spec(dimensions) == space.spec(index)


def test_places_and_unit_follow_the_numbering():
    space = model_space(B16, {"text.heads": {"values": [8]}})
    some = np.array([0, 17, space.size - 1])
    for index, places, unit in zip(some, space.places(some), space.unit(some), strict=True):
        for name, place, u in zip(space.names, places, unit, strict=True):
            options = space.values[name]
            assert options[place] == space.dimensions(int(index))[name]
            low, high = options[0], B16.dimensions()[name]
            assert u == (1 if high == low else (options[place] - low) / (high - low))
    assert np.array_equal(space.unit()[some], space.unit(some))


def test_iteration_gives_every_model_once():
    space = model_space(B16, {name: {"values": [1, 2]} for name in B16.dimensions()})
    assert len({tuple(d.values()) for d in space}) == len(space) == 256


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"min": 4, "max": 9}, (4, 5, 6, 7, 8, 9)),
        ({"min": 10}, (10, 11, 12)),
        ({"max": 7}, (6, 7)),
        ({"min": 2, "max": 12, "step": 4}, (2, 6, 10, 12)),
        ({"step": 3}, (6, 9, 12)),
        ({"values": (12, 3, 3)}, (3, 12)),
    ],
)
def test_overrides_of_an_integer_dimension(override, expected):
    assert model_space(B16, {"vision.layers": override}).values["vision.layers"] == expected


def test_bounds_of_a_width_keep_the_default_steps_between():
    values = model_space(B16, {"vision.embed_dim": {"min": 500, "max": 700}}).values["vision.embed_dim"]
    assert values == (500, 576, 672, 700)


def test_all_mistakes_at_once():
    wrong = {
        "vision.layer": {"min": 1},
        "vision.layers": {"min": 9, "max": 3},
        "text.heads": {"values": [4, 9]},
        "text.layers": {"values": [4], "min": 3},
        "text.ffn_dim": {"values": []},
        "text.embed_dim": {"max": 1000},
    }
    with pytest.raises(InputError) as caught:
        model_space(B16, wrong)
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    assert "did you mean 'vision.layers'?" in text
    assert "min 9 is above max 3" in text
    assert "9 is out of range" in text
    assert "1000 is out of range" in text


def test_index_names_what_is_not_in_the_space():
    space = model_space(B16)
    dimensions = space.dimensions(0)
    del dimensions["text.heads"]
    with pytest.raises(InputError) as caught:
        space.index({**dimensions, "vision.layers": 5, "x": 1})
    assert {problem.where for problem in caught.value.problems} == {"x", "vision.layers", "text.heads"}
    with pytest.raises(IndexError):
        space.dimensions(space.size)
