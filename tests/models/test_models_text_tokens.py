"""Texts into ids: batches with masks, streams, and tokenisers made here that are the same every time."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.models.loading import tokenizer as text_tokens
from catransformers.models.loading.tokenizer import TextTokenizer, train_bpe, train_wordpiece

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None, reason="the extra 'hf' is not installed"
)

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "A model that is smaller emits less carbon; a smaller model is quicker, too.",
    "Heads, layers, neurons and channels: all of them can be pruned.",
    "Ärger, café & naïve words!",
) * 3


@pytest.fixture(scope="module")
def words() -> TextTokenizer:
    return train_wordpiece(TEXTS, 150)


@pytest.fixture(scope="module")
def pairs() -> TextTokenizer:
    return train_bpe(TEXTS, 320)


def test_a_batch_is_padded_on_the_right_with_a_mask_and_types(words: TextTokenizer) -> None:
    batch = words.encode(["the dog", ("the dog", "a model"), ""], 12)
    assert {key: (value.dtype, value.shape) for key, value in batch.items()} == {
        "tokens": (torch.int64, (3, 12)),
        "mask": (torch.bool, (3, 12)),
        "types": (torch.int64, (3, 12)),
    }
    lengths = batch["mask"].sum(dim=1)
    assert torch.equal(batch["mask"], torch.arange(12) < lengths[:, None])
    assert bool((batch["tokens"][~batch["mask"]] == words.pad_id).all())
    assert bool((batch["tokens"][batch["mask"]] != words.pad_id).all())
    cls, sep = 2, 3
    assert batch["tokens"][2].tolist() == [cls, sep] + [0] * 10
    first, second = words.encode_stream("the dog").tolist(), words.encode_stream("a model").tolist()
    assert batch["tokens"][0, : lengths[0]].tolist() == [cls, *first, sep]
    assert batch["tokens"][1, : lengths[1]].tolist() == [cls, *first, sep, *second, sep]
    assert batch["types"][0].sum() == 0
    assert batch["types"][1].tolist() == [0] * (2 + len(first)) + [1] * (1 + len(second)) + [0] * (12 - lengths[1])


def test_long_texts_are_cut_and_of_a_pair_the_longer_one(words: TextTokenizer) -> None:
    long = " ".join(TEXTS)
    batch = words.encode([long], 10)
    assert bool(batch["mask"].all())
    assert batch["tokens"][0].tolist() == [2, *words.encode_stream(long)[:8].tolist(), 3]
    short = words.encode_stream("the dog").tolist()
    batch = words.encode([("the dog", long)], 20)
    kept = 20 - 3 - len(short)
    assert batch["tokens"][0].tolist() == [2, *short, 3, *words.encode_stream(long)[:kept].tolist(), 3]
    assert len(words.encode_stream(long)) > 100  # the cut before has not stayed


def test_lengths_without_room_for_text_are_refused(words: TextTokenizer) -> None:
    assert words.encode(["the"], 3)["tokens"].shape == (1, 3)
    with pytest.raises(InputError, match="2 tokens leave no room for text beside 2 special ones; allowed: from 3"):
        words.encode(["the"], 2)
    assert words.encode([("the", "dog")], 4)["mask"].all()
    with pytest.raises(InputError, match="beside 3 special ones"):
        words.encode(["a", ("the", "dog")], 3)
    assert words.encode([], 5)["tokens"].shape == (0, 5)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text(max_size=30) | st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=4),
    st.integers(4, 24),
)
def test_any_texts_make_a_rectangle_of_known_ids(
    words: TextTokenizer, texts: list[str | tuple[str, str]], length: int
) -> None:
    batch = words.encode(texts, length)
    assert batch["tokens"].shape == (len(texts), length)
    if texts:
        assert 0 <= int(batch["tokens"].min()) <= int(batch["tokens"].max()) < words.vocab_size
        assert bool(batch["mask"][:, 0].all())  # the start of a text is always real
        assert bool((batch["mask"].int().diff(dim=1) <= 0).all())


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60).filter(lambda text: "<" not in text))
def test_byte_pairs_write_every_text(pairs: TextTokenizer, text: str) -> None:
    stream = pairs.encode_stream(text)
    assert stream.dtype == torch.int64
    assert stream.dim() == 1
    assert pairs.decode(stream) == text


def test_byte_pairs_begin_a_text_and_a_stream_has_no_special_tokens(pairs: TextTokenizer) -> None:
    text = TEXTS[1]
    stream = pairs.encode_stream(text).tolist()
    assert len(stream) < len(text.encode()) / 2  # something was learnt
    assert min(stream) >= 3
    batch = pairs.encode([text], 64)
    assert batch["tokens"][0, batch["mask"][0]].tolist() == [1, *stream]


def test_word_pieces_know_their_words(words: TextTokenizer) -> None:
    assert words.decode(words.encode_stream("The lazy model")) == "the lazy model"
    assert len(words.encode_stream("the model")) == 2
    assert words.encode_stream("☃").tolist() == [1]  # unknown
    assert words.vocab_size <= 150


MAKE = """
import hashlib, pathlib, sys
from catransformers.models.loading.tokenizer import train_bpe, train_wordpiece
texts = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
for train in (train_wordpiece, train_bpe):
    path = pathlib.Path(sys.argv[2])
    train(texts, 400).save(path)
    print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_the_same_texts_give_the_same_file_in_every_process(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    source.write_text(Path(text_tokens.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    found = []
    for run in range(2):
        command = [sys.executable, "-c", MAKE, str(source), str(tmp_path / f"{run}.json")]
        found.append(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split())
    assert found[0] == found[1]
    assert len(set(found[0])) == 2


def test_what_is_saved_is_read_back(words: TextTokenizer, tmp_path: Path) -> None:
    words.save(tmp_path / "tokenizer.json")
    expected = words.encode([TEXTS[0], TEXTS[1]], 16)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        again = TextTokenizer(path)
        assert (again.pad_id, again.vocab_size) == (words.pad_id, words.vocab_size)
        found = again.encode([TEXTS[0], TEXTS[1]], 16)
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    again.save(tmp_path / "again.json")
    first, second = ((tmp_path / name).read_bytes() for name in ("tokenizer.json", "again.json"))
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


def test_a_tokeniser_goes_to_other_processes(words: TextTokenizer) -> None:
    again = pickle.loads(pickle.dumps(words))  # as the workers of a DataLoader get it
    assert torch.equal(again.encode_stream(TEXTS[0]), words.encode_stream(TEXTS[0]))


def test_the_files_own_padding_and_cutting_do_not_count_but_for_the_id(words: TextTokenizer, tmp_path: Path) -> None:
    words.save(tmp_path / "t.json")
    content = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 30},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 4,
        "pad_type_id": 1,
        "pad_token": "[MASK]",
    }
    (tmp_path / "t.json").write_text(json.dumps(content), encoding="utf-8")
    own = TextTokenizer(tmp_path / "t.json")
    assert own.pad_id == 4
    batch, plain = own.encode([TEXTS[0]], 20), words.encode([TEXTS[0]], 20)
    assert torch.equal(batch["mask"], plain["mask"])
    assert torch.equal(batch["tokens"], plain["tokens"].masked_fill(~plain["mask"], 4))
    assert torch.equal(batch["types"], plain["types"])
    assert torch.equal(own.encode_stream(TEXTS[0]), words.encode_stream(TEXTS[0]))


def test_a_tokeniser_without_padding_pads_with_the_end_of_a_text_or_is_refused(tmp_path: Path) -> None:
    tokenizers = importlib.import_module("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "</s>": 1}, unk_token="a"))
    made.save(str(tmp_path / "t.json"))
    assert TextTokenizer(tmp_path / "t.json").encode(["a"], 3)["tokens"].tolist() == [[0, 1, 1]]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    made.save(str(tmp_path / "t.json"))
    with pytest.raises(InputError, match=r"no token to pad with; allowed: .*<pad>"):
        TextTokenizer(tmp_path / "t.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1", b"\xff\xfe\x00"])
def test_files_that_are_no_tokeniser_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    for where in (path, tmp_path):
        with pytest.raises(InputError) as caught:
            TextTokenizer(where)
        assert caught.value.problems[0].where == str(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        TextTokenizer(tmp_path / "other.json")


def test_a_folder_with_a_vocabulary_only_is_read_through_transformers(transformers: Any, tmp_path: Path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", "##s", "barks"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    tokenizer = TextTokenizer(tmp_path)
    batch = tokenizer.encode([("The dogs", "barks")], 9)
    assert batch["tokens"].tolist() == [[2, 5, 6, 7, 3, 8, 3, 0, 0]]
    assert batch["types"].tolist() == [[0, 0, 0, 0, 0, 1, 1, 0, 0]]
    tokenizer.save(tmp_path / "tokenizer.json")
    assert torch.equal(TextTokenizer(tmp_path).encode([("The dogs", "barks")], 9)["tokens"], batch["tokens"])


def test_a_folder_without_tokeniser_says_what_to_do(transformers: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        TextTokenizer(tmp_path)
    (problem,) = caught.value.problems
    assert problem.where == str(tmp_path)
    assert "tokenizer.json" in problem.hint


def test_nothing_to_learn_from_and_too_few_tokens_are_refused() -> None:
    for train in (train_wordpiece, train_bpe):
        with pytest.raises(InputError, match="no text to learn"):
            train(["", ""], 1000)
        with pytest.raises(InputError, match=r"vocab_size: 20 tokens are fewer than \d special ones and \d+ letters"):
            train(TEXTS, 20)


def test_a_missing_library_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"catransformers\[hf\]"):
        train_bpe(TEXTS, 400)


def test_transformers_reads_our_files_the_same_way(transformers: Any, words: TextTokenizer, tmp_path: Path) -> None:
    words.save(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), pad_token="[PAD]")
    for length in (7, 40):
        for text in (TEXTS[0], (TEXTS[1], TEXTS[2])):
            arguments = [text] if isinstance(text, str) else list(text)
            options = {"padding": "max_length", "truncation": True, "max_length": length, "return_token_type_ids": True}
            expected = theirs(*arguments, **options)
            found = words.encode([text], length)
            assert found["tokens"][0].tolist() == expected["input_ids"]
            assert found["mask"][0].long().tolist() == expected["attention_mask"]
            assert found["types"][0].tolist() == expected["token_type_ids"]
