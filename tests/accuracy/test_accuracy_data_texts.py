"""Texts with classes, as GLUE and users write them, and plain text in blocks."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.accuracy.data import SPLITS, DataSource, Sample, open_data
from catransformers.accuracy.data.plain_text import PlainText
from catransformers.errors import CatransformersWarning, InputError


def sizes(source: DataSource) -> list[int]:
    return [len(source.splits[split]) for split in SPLITS]


def texts(source: DataSource, split: str) -> str:
    return "".join(source.read(i).texts[0] for i in source.splits[split])


def write(path: Path, header: str, rows: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows] if header else rows) + "\n", encoding="utf-8")


#: GLUE's tables: file endings of train and validation, header, a row of number i and class c, the classes.
GLUE = {
    "CoLA": ("train.tsv", "dev.tsv", "", 'src\t{c}\t*\ta "quote {i}', ("0", "1")),
    "SST-2": ("train.tsv", "dev.tsv", "sentence\tlabel", 'a "quote {i} \t{c}', ("0", "1")),
    "MRPC": (
        "msr_paraphrase_train.txt",
        "msr_paraphrase_test.txt",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        '{c}\t1\t2\ta "quote {i}\tsecond {i}',
        ("0", "1"),
    ),
    "QQP": (
        "train.tsv",
        "dev.tsv",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        '1\t2\t3\ta "quote {i}\tsecond {i}\t{c}',
        ("0", "1"),
    ),
    "QNLI": (
        "train.tsv",
        "dev.tsv",
        "index\tquestion\tsentence\tlabel",
        '0\ta "quote {i}\tsecond {i}\t{c}',
        ("entailment", "not_entailment"),
    ),
    "RTE": (
        "train.tsv",
        "dev.tsv",
        "index\tsentence1\tsentence2\tlabel",
        '0\ta "quote {i}\tsecond {i}\t{c}',
        ("entailment", "not_entailment"),
    ),
    "MNLI": (
        "train.tsv",
        "dev_matched.tsv",
        "index\tgenre\tsentence1\tsentence2\tlabel1\tgold_label",
        '0\tfiction\ta "quote {i}\tsecond {i}\tneutral\t{c}',
        ("contradiction", "entailment", "neutral"),
    ),
}


@pytest.mark.parametrize("task", GLUE)
def test_glue(tmp_path: Path, task: str) -> None:
    train, dev, header, row, classes = GLUE[task]
    for name, count in ((train, 40), (dev, 12)):
        write(tmp_path / name, header, [row.format(i=i, c=classes[i % len(classes)]) for i in range(count)])
    if task == "MNLI":
        write(tmp_path / "dev_mismatched.tsv", header, [row.format(i=i, c="neutral") for i in range(9)])
    if task != "MRPC":
        write(tmp_path / "test.tsv", "index\tsentence", ["0\tno class"])
    source = open_data(tmp_path, "texts")
    assert source.class_names == classes
    assert sizes(source) == ([32, 4, 4, 12] if task == "MRPC" else [36, 4, 6, 6])
    for i in range(40):
        sample = source.read(i)
        pair = header.count("1") or "question" in header or "#1" in header
        expected = (f'a "quote {i}', f"second {i}") if pair else (f'a "quote {i}',)
        assert sample == Sample(texts=expected, label=i % len(classes))


def test_a_regression_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", "index\tsentence1\tsentence2\tscore", ["0\ta\tb\t3.2"])
    with pytest.raises(InputError, match="a regression, such as STS-B, is not supported"):
        open_data(tmp_path, "texts")


def test_a_few_broken_rows_of_a_published_file_are_left_out_and_told(tmp_path: Path) -> None:
    rows = [f"text {i}\t{i % 2}" for i in range(2000)]
    rows[10] = "a row without a label"
    write(tmp_path / "train.tsv", "sentence\tlabel", rows)
    with pytest.warns(CatransformersWarning, match=r"left out: .*1 × a row with another number of fields.*line 12"):
        source = open_data(tmp_path, "texts")
    assert len(source) == 1999
    rows[20:30] = ["another"] * 10
    write(tmp_path / "train.tsv", "sentence\tlabel", rows)
    with pytest.raises(InputError, match=r"11 × a row with another number.*train.tsv: line 12; train.tsv: line 22"):
        open_data(tmp_path, "texts")


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_your_own_tables(tmp_path: Path, ending: str) -> None:
    mark = "," if ending == "csv" else "\t"
    path = tmp_path / f"own.{ending}"
    write(path, mark.join(["text", "label"]), [f"words {i}{mark}{i % 3 + 9}" for i in range(30)])
    source = open_data(path, "texts")
    assert source.class_names == ("9", "10", "11")  # by number, not by letter
    assert sizes(source) == [21, 3, 3, 3]
    assert source.read(4) == Sample(texts=("words 4",), label=1)
    assert source.name(4) == f"own.{ending} line 6"
    assert source.splits == open_data(path, "texts").splits != open_data(path, "texts", seed=1).splits
    header = mark.join(["sentence1", "sentence2", "label", "split"])
    splits = [split for split in SPLITS for _ in range(4)]
    write(path, header, [mark.join([f"a{i}", f"b{i}", "yn"[i % 2], split]) for i, split in enumerate(splits)])
    source = open_data(path, "texts")
    assert [list(source.splits[split]) for split in SPLITS] == [list(range(i, i + 4)) for i in range(0, 16, 4)]
    assert source.read(3) == Sample(texts=("a3", "b3"), label=0)  # n, y


def test_all_faults_of_a_table_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    write(path, "text,label,split", ["a,1,train", ",1,train", "b,,test", "c,1,dev", "d"])
    with pytest.raises(InputError) as caught:
        open_data(path, "texts")
    text = str(caught.value)
    assert "1 × a row with another number of fields than the header: own.csv: line 6" in text
    assert "2 × an empty text or label: own.csv line 3; own.csv line 4" in text
    assert "1 × an unknown split (allowed: train, calibration, validation, test): own.csv line 5: 'dev'" in text
    assert "a single class, where at least two are needed: 1" in text
    write(path, "text,lable", ["a,1"])
    with pytest.raises(InputError, match=r"no column label.*did you mean 'lable'"):
        open_data(path, "texts")
    write(path, "txt,label", ["a,1"])
    with pytest.raises(InputError, match=r"no column of text.*did you mean 'txt'"):
        open_data(path, "texts")


STORY = "".join(f"Line {i} says ünïcödé things about {i * i}.\n" for i in range(4000))


def test_one_text_is_cut_by_position(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(STORY, encoding="utf-8")
    source = open_data(tmp_path / "story.txt", "plain")
    parts = [texts(source, split) for split in SPLITS]
    assert "".join(parts) == STORY
    assert [len(part) / len(STORY) for part in parts] == pytest.approx([0.7, 0.1, 0.1, 0.1], abs=0.02)
    assert all(source.read(i).texts[0].endswith(".\n") for i in range(len(source)))
    assert max(len(source.read(i).texts[0].encode()) for i in range(len(source))) <= 4096


def test_a_few_documents_are_each_cut_and_many_are_split_whole(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(STORY.replace("Line", f"Doc{i}"), encoding="utf-8")
    source = open_data(tmp_path, "plain")
    assert isinstance(source, PlainText)
    for split in SPLITS:
        assert {source.document(i) for i in source.splits[split]} == {0, 1, 2}
    for i in range(3, 20):
        (tmp_path / f"{i:02d}.txt").write_text(f"Doc{i} " * 300, encoding="utf-8")
    source = open_data(tmp_path, "plain")
    assert isinstance(source, PlainText)
    of = [{source.document(i) for i in source.splits[split]} for split in SPLITS]
    assert [len(documents) for documents in of] == [14, 2, 2, 2]
    assert len(set.union(*of)) == 20
    assert sorted(i for split in SPLITS for i in source.splits[split]) == list(range(len(source)))
    assert source.splits != open_data(tmp_path, "plain", seed=5).splits


def test_files_named_for_splits_are_those(tmp_path: Path) -> None:
    for name in ("other.txt", "wiki.train.txt", "valid.txt", "test.txt"):
        (tmp_path / name).write_text(STORY.replace("Line", name[:5]), encoding="utf-8")
    with pytest.raises(InputError, match="a file of no split, beside files that have one: other"):
        open_data(tmp_path, "plain")
    (tmp_path / "other.txt").unlink()
    source = open_data(tmp_path, "plain")
    assert texts(source, "test") == STORY.replace("Line", "test.")
    assert texts(source, "validation") == STORY.replace("Line", "valid")
    train = texts(source, "train") + texts(source, "calibration")  # its end calibrates
    assert train == STORY.replace("Line", "wiki.")


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=70, max_size=100) | st.text("aé€😀", min_size=70, max_size=100))
def test_blocks_joined_are_the_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("t") / "a.txt"
    text = text * 100
    path.write_bytes(text.encode())
    source = open_data(path, "plain")
    assert "".join(source.read(i).texts[0] for i in range(len(source))) == text.removeprefix("\ufeff")


def test_text_that_is_damaged_or_too_short(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text(STORY, encoding="utf-8")
    (tmp_path / "bad.txt").write_bytes(STORY.encode() + b"\xff\xff")
    (tmp_path / "cut.txt").write_bytes("é".encode()[:1])
    with pytest.raises(InputError, match=r"2 × a file that is not UTF-8: bad\.txt: .*; cut\.txt"):
        open_data(tmp_path, "plain")
    (tmp_path / "short.txt").write_text("a few words")
    with pytest.raises(InputError, match="0 blocks of text in the split 'test'"):
        open_data(tmp_path / "short.txt", "plain")
