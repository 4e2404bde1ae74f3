"""Zero-shot evaluation on clip-benchmark's layout: values against a slow reference, resuming, and what is broken."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from catransformers.accuracy.benchmark import (
    DatasetScore,
    Event,
    averages,
    evaluate_benchmark,
    evaluate_dataset,
    find_datasets,
    known,
    running,
)
from catransformers.accuracy.benchmark.evaluating import standard_error_of_mean_recall
from catransformers.accuracy.benchmark.known import find
from catransformers.accuracy.benchmark.ranking import recalls
from catransformers.errors import InputError, IntegrityError
from catransformers.models.families.clip import Clip
from catransformers.models.families.nets import make_net
from catransformers.models.loading.preprocess import Preprocess
from catransformers.workloads.spec import BertSpec, ClipSpec, EncoderSpec, TextSpec, VisionSpec

SPEC = ClipSpec(VisionSpec(1, 16, 8, 2, 4, 5, 8, 4), TextSpec(1, 16, 8, 2, 4, 12, 40), 6)
PREPROCESS = Preprocess(8)
TEMPLATES = ("a photo of a {c}.", "art of {c}")

Member = tuple[str, bytes]


def tokenize(texts: Sequence[str]) -> torch.Tensor:
    """A toy tokeniser: a token a character, the end token the highest id."""
    rows = torch.zeros(len(texts), 12, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        ids = [1 + ord(letter) * 7 % 37 for letter in text[-11:]]
        row[: len(ids) + 1] = torch.tensor([*ids, 39])
    return rows


@pytest.fixture
def net() -> Clip:
    torch.manual_seed(3)
    made = Clip(SPEC).eval()
    with torch.no_grad():
        for parameter in made.visual.parameters():
            parameter.mul_(4)  # so that it tells images apart
    return made


def picture(rng: np.random.Generator, ending: str = "png") -> bytes:
    file = io.BytesIO()
    size = (int(rng.integers(8, 14)), int(rng.integers(8, 14)), 3)
    Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(file, ending.replace("jpg", "jpeg"), quality=95)
    return file.getvalue()


def write_shards(folder: Path, shards: Sequence[Sequence[Member]]) -> None:
    (folder / "test").mkdir(parents=True)
    (folder / "test/nshards.txt").write_text(f"{len(shards)}\n")
    for number, members in enumerate(shards):
        with tarfile.open(folder / f"test/{number}.tar", "w") as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def classes(folder: Path, count: int = 40, names: int = 7, seed: int = 0, labels: Sequence[int] | None = None) -> Path:
    """A classification with unequal classes in two shards."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(names, count, p=np.arange(1, names + 1) / np.arange(1, names + 1).sum())
    chosen = chosen if labels is None else np.array(labels)
    shards: list[list[Member]] = [[], []]
    for i, label in enumerate(chosen):
        ending = ("png", "webp", "jpg")[i % 3]
        shards[i % 2] += [(f"s{i:07d}.cls", str(label).encode()), (f"s{i:07d}.{ending}", picture(rng, ending))]
    write_shards(folder, shards)
    (folder / "classnames.txt").write_text("\n".join(f"thing {chr(97 + i)}" for i in range(names)) + "\n")
    (folder / "zeroshot_classification_templates.txt").write_text("\n".join(TEMPLATES))
    return folder


def captions(folder: Path, count: int = 30, each: Callable[[int], int] = lambda _: 5, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    shards: list[list[Member]] = [[], []]
    for i in range(count):
        text = "\n".join("".join(chr(97 + c) for c in rng.integers(0, 26, 8)) for _ in range(each(i)))
        shards[i % 2] += [(f"s{i:07d}.jpg", picture(rng, "jpg")), (f"s{i:07d}.txt", f"{text}\n".encode())]
    write_shards(folder, shards)
    (folder / "dataset_type.txt").write_text("retrieval\n")
    return folder


def members_of(folder: Path) -> dict[str, dict[str, bytes]]:
    """All members by key and ending, read with nothing but tarfile."""
    found: dict[str, dict[str, bytes]] = {}
    for shard in sorted(folder.glob("test/*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                key, ending = member.name.split(".")
                found.setdefault(key, {})[ending] = archive.extractfile(member).read()
    return found


def image_vector(net: Clip, content: bytes) -> np.ndarray:
    with torch.no_grad():
        return net.encode_image(PREPROCESS(Image.open(io.BytesIO(content)))[None])[0].double().numpy()


def text_vector(net: Clip, text: str) -> np.ndarray:
    with torch.no_grad():
        return net.encode_text(tokenize([text]))[0].double().numpy()


def one(root: Path, net: Clip, name: str | None = None, **options: object) -> DatasetScore:
    found = find_datasets(root)
    assert not found.failures
    dataset = next(part for part in found.datasets if name in (None, part.name))
    return evaluate_dataset(net, dataset, PREPROCESS, tokenize, **options)


def test_classification_equals_a_slow_reference(tmp_path: Path, net: Clip) -> None:
    folder = classes(tmp_path / "wds_vtab-flowers", 60)
    score = one(tmp_path, net)
    names = [line for line in (folder / "classnames.txt").read_text().splitlines() if line]
    vectors = []
    for name in names:
        mean = np.mean([text_vector(net, template.replace("{c}", name)) for template in TEMPLATES], axis=0)
        vectors.append(mean / np.linalg.norm(mean))
    hits, top, labels, chosen = [], [], [], set()
    for files in members_of(folder).values():
        image = next(content for ending, content in files.items() if ending != "cls")
        order = np.argsort([-vector @ image_vector(net, image) for vector in vectors])
        labels.append(int(files["cls"]))
        chosen.add(order[0])
        hits.append(order[0] == labels[-1])
        top.append(labels[-1] in order[:5])
    recalls = [np.mean([hit for hit, other in zip(hits, labels, strict=True) if other == c]) for c in set(labels)]
    assert len(chosen) > 2
    assert 0 < np.mean(hits) < np.mean(top) < 1
    assert score.metrics["acc1"] == pytest.approx(np.mean(hits))
    assert score.metrics["acc5"] == pytest.approx(np.mean(top))
    assert score.metrics["mean_per_class_recall"] == pytest.approx(np.mean(recalls))
    assert np.mean(recalls) != pytest.approx(np.mean(hits))
    assert (score.metric, score.value) == ("mean_per_class_recall", score.metrics["mean_per_class_recall"])
    assert (score.n, score.skipped, score.group) == (60, 0, "vtab")
    assert any("60 images; the published data set has 6,149" in note for note in score.notes)


@pytest.mark.parametrize("each", [lambda _: 5, lambda i: 1 + i % 4], ids=["five", "unequal"])
def test_retrieval_equals_a_slow_reference(tmp_path: Path, net: Clip, each: Callable[[int], int]) -> None:
    folder = captions(tmp_path / "wds_mscoco_captions", 30, each)
    score = one(tmp_path, net, batch_size=7)
    images, texts, owner = [], [], []
    for i, files in enumerate(members_of(folder).values()):
        images.append(image_vector(net, files["jpg"]))
        for line in files["txt"].decode().splitlines():
            texts.append(text_vector(net, line))
            owner.append(i)
    similarity = np.array(images) @ np.array(texts).T
    for k in (1, 5, 10):
        by_text = [owner[j] in np.argsort(-similarity[:, j])[:k] for j in range(len(texts))]
        by_image = [i in {owner[j] for j in np.argsort(-similarity[i])[:k]} for i in range(len(images))]
        assert score.metrics[f"image_recall@{k}"] == pytest.approx(np.mean(by_text))
        assert score.metrics[f"text_recall@{k}"] == pytest.approx(np.mean(by_image))
        assert k == 1 or 0 < np.mean(by_text) < 1
    assert score.value == pytest.approx((score.metrics["image_recall@1"] + score.metrics["text_recall@1"]) / 2)
    assert score.n == 30


def test_values_depend_on_nothing_but_net_and_data(tmp_path: Path, net: Clip) -> None:
    classes(tmp_path / "a/wds_mnist", 40, seed=1)
    captions(tmp_path / "a/wds_flickr8k")
    for folder in ("a/wds_mnist", "a/wds_flickr8k"):
        members = members_of(tmp_path / folder)
        rest = [(f"{key}.{ending}", content) for key, files in members.items() for ending, content in files.items()]
        backwards = sorted(rest, key=lambda member: member[0], reverse=True)
        target = tmp_path / folder.replace("a/", "b/")
        shutil.copytree(tmp_path / folder, target, ignore=shutil.ignore_patterns("test"))
        write_shards(target, [backwards])  # one shard, the other way round
    net.train()
    for name in ("mnist", "flickr8k"):
        first = one(tmp_path / "a", net, name)
        for root, options in (("a", {"batch_size": 3, "workers": 2}), ("b", {"batch_size": 64})):
            other = one(tmp_path / root, net, name, **options)
            assert other.metrics == pytest.approx(first.metrics)
            assert other.standard_error == pytest.approx(first.standard_error)
    assert net.training


def test_spread_over_draws_is_the_standard_error_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shares, labels = np.array([0.9, 0.5, 0.2]), np.repeat([0, 1, 2], [8, 4, 3])
    draws = [(rng.random(15) < shares[labels]).astype(float) for _ in range(5000)]
    means = [np.mean([hits[labels == c].mean() for c in range(3)]) for hits in draws]
    told = [standard_error_of_mean_recall(hits, labels) for hits in draws]
    assert np.sqrt(np.mean(np.square(told))) == pytest.approx(np.std(means), rel=0.03)
    assert standard_error_of_mean_recall(np.ones(4), np.array([0, 0, 0, 1])) == np.inf


def test_ties_and_what_is_not_a_number_never_hit() -> None:
    same = torch.ones(12, 4) / 2
    score = recalls(same, same, torch.arange(12))
    assert set(score.metrics.values()) == {0.0}
    eye = torch.eye(300)
    assert recalls(eye, eye, torch.arange(300)).metrics == dict.fromkeys(score.metrics, 1.0)  # two chunks of rows
    bad = eye.clone()
    bad[7, 7] = torch.nan
    assert recalls(bad, eye, torch.arange(300)).metrics["text_recall@10"] == pytest.approx(299 / 300)
    assert recalls(bad, eye, torch.arange(300)).metrics["image_recall@10"] == 0  # each caption meets that image


def test_the_table_is_sound() -> None:
    table = known()
    rows = list(table.values())
    groups = {group: sum(row.group == group for row in rows) for group in {row.group for row in rows}}
    assert groups.pop("other") > 0
    assert groups == {"imagenet": 1, "imagenet shifts": 6, "vtab": 13, "retrieval": 3}
    assert sum(row.in_datacomp for row in rows) == 38
    assert all(row.in_datacomp for row in rows if row.group != "other")
    spellings = [find(spelling) for row in rows for spelling in (row.name, *row.spellings)]
    assert spellings == [row for row in rows for _ in (row.name, *row.spellings)]  # no spelling means two
    for spelling in ("wds_vtab-cifar10", "vtab/cifar10", "cifar10", "CIFAR10", "wds_vtab_cifar10", "wds_cifar10_test"):
        assert find(spelling) is table["vtab/cifar10"]
    assert find("wds_imagenet-a") is find("imagenet_a") is table["imagenet-a"]
    assert find("wds_mine") is None


def test_what_is_there_is_found_and_what_is_broken_told(tmp_path: Path) -> None:
    classes(tmp_path / "wds_vtab-pets")
    classes(tmp_path / "food101")  # without prefix, in the table
    classes(tmp_path / "own")  # without prefix, unknown: not ours
    classes(tmp_path / "wds_own")
    captions(tmp_path / "wds_flickr30k")
    (tmp_path / "gtsrb").mkdir()  # no shards in it: some other folder
    (tmp_path / "wds_a-file").write_text("")
    (classes(tmp_path / "wds_mnist") / "classnames.txt").unlink()
    broken = classes(tmp_path / "wds_stl10")
    (broken / "test/1.tar").unlink()
    (broken / "test/7.tar").write_text("")
    (broken / "zeroshot_classification_templates.txt").write_text("a photo\n{c}\n")
    (broken / "classnames.txt").write_text("a\n\nb\n")
    (tmp_path / "wds_cars/test").mkdir(parents=True)
    (classes(tmp_path / "wds_dtd") / "test/nshards.txt").write_text("99999999999999999999")
    (classes(tmp_path / "wds_voc2007_multilabel") / "dataset_type.txt").write_text("multilabel")
    (classes(tmp_path / "wds_mscoco_captions") / "dataset_type.txt").write_text("classification")
    classes(tmp_path / "wds_svhn")
    classes(tmp_path / "wds_vtab-svhn")
    found = find_datasets(tmp_path)
    assert [part.name for part in found.datasets] == ["vtab/pets", "flickr30k", "food101", "own"]
    told = {failure.name: "\n".join(map(str, failure.problems)) for failure in found.failures}
    assert list(told) == [name for name in (*known(), "own") if name in told]
    assert "missing file: wds_mnist/classnames.txt" in told["mnist"]
    for part in ("missing shard: test/1.tar", "does not count: test/7.tar", "'a photo'", "classnames.txt, line 2"):
        assert part in told["stl10"]
    assert told["cars"].count("missing file") == 1
    assert "3 × a missing file" in told["cars"]
    assert "no number from 1" in told["vtab/dtd"]
    assert "not evaluated here: multilabel" in told["voc2007_multilabel"]
    assert "classification, not retrieval" in told["mscoco_captions"]
    assert "same data set" in told["vtab/svhn"]
    assert len(told) == 7
    assert set(found.missing) == set(known()) - set(told) - {"vtab/pets", "flickr30k", "food101"}
    with pytest.raises(InputError, match="cannot be read"):
        find_datasets(tmp_path / "nowhere")


def test_damaged_shards_fail_alone_and_damaged_images_are_left_out(tmp_path: Path, net: Clip) -> None:
    classes(tmp_path / "wds_mnist")
    shard = classes(tmp_path / "wds_gtsrb") / "test/1.tar"
    content = bytearray(shard.read_bytes())
    content[1024:1536] = b"x" * 512  # a header
    shard.write_bytes(content)
    cut = classes(tmp_path / "wds_cars") / "test/0.tar"
    cut.write_bytes(cut.read_bytes()[:1000])
    rng = np.random.default_rng(0)
    lacking = classes(tmp_path / "wds_stl10")
    shutil.rmtree(lacking / "test")
    write_shards(
        lacking,
        [
            [("a.png", picture(rng)), ("b.cls", b"0")],
            [(f"{key}.png", picture(rng)) for key in "cde"] + [("c.cls", b"99"), ("d.cls", b"cat"), ("e.cls", b"-1")],
        ],
    )
    write_shards(tmp_path / "wds_flickr8k", [[("a.png", picture(rng)), ("a.txt", b" \n")]])
    write_shards(tmp_path / "wds_flickr30k", [[]])
    some = captions(tmp_path / "wds_mscoco_captions")
    members = [(f"{key}.{e}", content) for key, files in members_of(some).items() for e, content in files.items()]
    shutil.rmtree(some / "test")
    write_shards(some, [[("x.jpg", b"no image"), ("x.txt", b"one\ntwo"), *members]])
    events: list[Event] = []
    result = evaluate_benchmark(
        net, tmp_path, tmp_path / "out", preprocess=PREPROCESS, tokenize=tokenize, listen=events.append
    )
    assert [score.name for score in result.scores] == ["mscoco_captions", "mnist"]
    told = {failure.name: "\n".join(map(str, failure.problems)) for failure in result.failures}
    assert "damaged" in told["gtsrb"]
    assert "1 × a shard that is damaged" in told["cars"]
    assert "image without a .cls" in told["stl10"]
    assert "sample without an image" in told["stl10"]
    assert "2 × a label without a class: 1.tar: c: 99, and there are 7 classes; 1.tar: e: -1" in told["stl10"]
    assert "'cat'" in told["stl10"]
    assert "image without captions" in told["flickr8k"]
    assert "without samples" in told["flickr30k"]
    assert (result.scores[0].n, result.scores[0].skipped) == (30, 1)
    assert any("1 × an image that cannot be read is left out: 0.tar: x" in note for note in result.scores[0].notes)
    whole = one(captions(tmp_path / "again/wds_mscoco_captions").parent, net)
    assert result.scores[0].metrics == pytest.approx(whole.metrics)
    assert {event.name for event in events if event.kind == "failed"} == set(told)
    assert max(event.of for event in events if event.name == "mscoco_captions") == 31 + 5 * 30 + 2
    for name in ("mscoco_captions", "mnist"):
        ticks = [event for event in events if event.name == name and event.kind == "advances"]
        assert [tick.done for tick in ticks] == sorted({tick.done for tick in ticks})
        assert ticks[-1].done == ticks[-1].of
    assert result.averages["average"].n == 2
    assert result.averages["average"].of == 7


def test_an_interrupted_evaluation_goes_on_where_it_was(
    tmp_path: Path, net: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    for i, name in enumerate(("wds_imagenet1k", "wds_cars", "wds_mnist")):
        classes(root / name, 12, seed=i)
    done: list[str] = []
    real = running.evaluate_dataset

    def watched(net: Clip, dataset: running.Dataset, *args: object, **options: object) -> DatasetScore:
        if dataset.name == stop:
            raise KeyboardInterrupt
        done.append(dataset.name)
        return real(net, dataset, *args, **options)

    monkeypatch.setattr(running, "evaluate_dataset", watched)

    def run(net: Clip = net, preprocess: Preprocess = PREPROCESS) -> tuple[running.BenchmarkResult, list[str]]:
        done.clear()
        return evaluate_benchmark(net, root, out, preprocess=preprocess, tokenize=tokenize), list(done)

    stop = "mnist"
    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == ["imagenet1k", "cars"]
    stop = ""
    result, measured = run()
    assert measured == ["mnist"]
    again, measured = run()
    assert measured == []
    assert again == result
    shutil.rmtree(root / "wds_cars")
    classes(root / "wds_cars", 14, seed=9)
    assert run()[1] == ["cars"]  # its shards are others, if of the same sizes
    (root / "wds_mnist/zeroshot_classification_templates.txt").write_text("{c}")
    assert run()[1] == ["mnist"]
    with torch.no_grad():
        torch.manual_seed(8)
        other = Clip(SPEC)
    assert len(run(other)[1]) == 3
    assert run()[1] == []  # the first net's values are still there
    assert len(run(preprocess=Preprocess(8, interpolation="nearest"))[1]) == 3
    file = out / "results.json"
    for damaged in (
        file.read_bytes()[:-40],
        b"{}",
        b'{"format": "catransformers benchmark 1", "nets": {"a": {"b": 1}}}',
    ):
        file.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"results\.json"):
            run()


def test_chosen_names_and_mistakes_in_them(tmp_path: Path, net: Clip) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    root.mkdir()

    def run(**options: object) -> running.BenchmarkResult:
        return evaluate_benchmark(net, root, out, **{"preprocess": PREPROCESS, "tokenize": tokenize} | options)

    with pytest.raises(InputError, match="none of clip-benchmark's data sets"):
        run()
    classes(root / "wds_cars", 10)
    classes(root / "wds_mnist", 10)
    classes(root / "wds_own-things", 10)
    result = run(names=["wds_own-things", "stanford_cars"])
    assert [score.name for score in result.scores] == ["cars", "own-things"]
    assert result.scores[1].group == "other"
    with pytest.raises(InputError) as caught:
        run(names=["mnits", "gtsrb", "cars"])
    assert "did you mean 'mnist'" in str(caught.value)
    assert "'gtsrb' is not there" in str(caught.value)
    with pytest.raises(InputError, match="no data set is asked for"):
        run(names=[])
    with pytest.raises(InputError, match="images of 16 pixels"):
        run(preprocess=Preprocess(16))
    bert = make_net(BertSpec(EncoderSpec(1, 16, 8, 2, 4, 12), 40), empty=True)
    with pytest.raises(InputError, match="'bert'"):
        evaluate_benchmark(bert, root, out, preprocess=PREPROCESS, tokenize=tokenize)


def score_of_name(name: str, value: float, error: float) -> DatasetScore:
    row = find(name)
    return DatasetScore(name, row.group if row else "other", "acc1", value, error, 10, metrics={"acc1": value})


def test_averages_tell_of_how_many_they_are() -> None:
    scores = [
        score_of_name("imagenet1k", 0.5, 0.03),
        score_of_name("imagenetv2", 0.2, 0.01),
        score_of_name("imagenet-r", 0.4, 0.02),
        score_of_name("mnist", 0.9, 0.04),
        score_of_name("mine", 0.1, 0.05),
    ]
    found = averages(scores, 6)
    assert list(found) == ["imagenet", "imagenet shifts", "datacomp", "average"]
    assert (found["imagenet shifts"].n, found["imagenet shifts"].of) == (2, 6)
    assert found["imagenet shifts"].value == pytest.approx(0.3)
    assert found["imagenet shifts"].standard_error == pytest.approx(np.hypot(0.01, 0.02) / 2)
    assert (found["datacomp"].n, found["datacomp"].of) == (4, 38)
    assert found["datacomp"].value == pytest.approx(0.5)
    assert (found["average"].n, found["average"].of) == (5, 6)
    assert found["average"].value == pytest.approx(0.42)
    assert averages(scores[::-1], 6)["average"].value == pytest.approx(0.42)
    assert averages([]) == {}


def test_the_table_and_json_of_a_result(tmp_path: Path, net: Clip) -> None:
    classes(tmp_path / "wds_imagenet1k", 1, labels=[3])  # one image: nothing can be said of its error
    classes(tmp_path / "wds_own", 20)
    (tmp_path / "wds_mnist").mkdir()
    result = evaluate_benchmark(net, tmp_path, tmp_path / "out", preprocess=PREPROCESS, tokenize=tokenize)
    rows = result.rows()
    assert {len(row) for row in rows} == {len(running.BenchmarkResult.columns)}
    assert [row[0] for row in rows] == [
        "imagenet1k", "own", "imagenet, 1 of 1", "datacomp, 1 of 38", "average, 2 of 3",
    ]  # fmt: skip
    assert rows[0][4] == "–"
    assert rows[1][3] == f"{100 * result.scores[1].value:.2f} %"
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert list(plain) == ["datasets", "averages", "failed", "missing"]
    assert plain["datasets"][0]["standard_error"] is None
    assert plain["datasets"][1]["value"] == result.scores[1].value
    assert plain["averages"]["average"]["of"] == 3
    assert plain["failed"][0]["name"] == "mnist"
    assert len(plain["missing"]) == len(known()) - 2
