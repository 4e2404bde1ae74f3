"""`sweep`, and what `estimate` got beside it: `--explain`, `--energy`, `--roofline`; the documented commands run."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from catransformers.cli import main
from catransformers.designs.sweep import sweep

ROOT = Path(__file__).parents[2]
HARDWARE = ["--hardware", "cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=0.5"]
SMALL = ["--model", "embedded", "--space", "micro", "--scenario", "always-on"]
SMALL += ["--values", "pe_x=8,32", "--values", "pe_y=4,16", "--values", "local_kib=4", "--values", "local_bandwidth=32"]
VALUES = {"pe_x": [8, 32], "pe_y": [4, 16], "local_kib": [4], "local_bandwidth": [32]}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def keys_of(data: object) -> set[str]:
    if isinstance(data, dict):
        return set(data) | {key for value in data.values() for key in keys_of(value)}
    if isinstance(data, list):
        return {key for value in data for key in keys_of(value)}
    return set()


def test_the_object_is_that_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "sweep", *SMALL, "--max-area-mm2", "1.2", "--objectives", "latency, carbon", "--json")
    assert code == 0
    limits = {"max_area_mm2": 1.2, "max_tops": 20}
    found = sweep(
        "embedded", "micro", values=VALUES, scenario="always-on", objectives=["carbon", "latency"], limits=limits
    )
    assert json.loads(out) == found.to_dict()
    assert json.loads(out)["limits"] == limits
    assert 0 < json.loads(out)["within_limits"] < json.loads(out)["accelerators"] == 48


def test_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "sweep", *SMALL)
    assert code == 0
    for words in ("48 accelerators of the space micro", "World average", "Best for each objective", "knee", " s\n"):
        assert words in out, words
    knee = re.search(r"catransformers (estimate .*--explain)", out)
    assert knee
    assert run(capsys, *shlex.split(knee.group(1)))[0] == 0


def test_a_long_front_is_cut_unless_all_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    more = [*SMALL, "--values", "cores=1,2,3,4"]
    short, whole = (run(capsys, "sweep", *more, *flag)[1] for flag in ([], ["--all"]))
    size = len(sweep("embedded", "micro", values={**VALUES, "cores": [1, 2, 3, 4]}, scenario="always-on").front)
    assert size > 20
    assert f"the first 20 of {size}; --all shows all" in short
    assert len(whole.splitlines()) - len(short.splitlines()) == size - 20


def test_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out_dir = tmp_path / "new" / "sweep"
    code, out, _ = run(capsys, "sweep", *SMALL, "--out", str(out_dir), "--json")
    assert code == 0
    data = json.loads(out)
    assert sorted(path.name for path in out_dir.iterdir()) == ["front.csv", "front.json", "front.svg", "sweep.html"]
    assert json.loads((out_dir / "front.json").read_text()) == data
    rows = list(csv.DictReader(io.StringIO((out_dir / "front.csv").read_text())))
    assert [float(row["total_kg"]) for row in rows] == [row["total_kg"] for row in data["front"]]
    assert [row["pe_x"] for row in rows] == [str(row["accelerator"]["pe_x"]) for row in data["front"]]
    assert {"carbon", "latency", "energy", "area", "knee"} == {n for row in rows for n in row["best_for"].split()}
    assert ET.fromstring((out_dir / "front.svg").read_bytes()).tag.endswith("svg")
    before = {path.name: path.read_bytes() for path in out_dir.iterdir()}
    assert run(capsys, "sweep", *SMALL, "--out", str(out_dir))[0] == 0
    assert before == {path.name: path.read_bytes() for path in out_dir.iterdir()}


def test_the_page_stands_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(capsys, "sweep", *SMALL, "--max-area-mm2", "1.5", "--out", str(tmp_path))
    page = (tmp_path / "sweep.html").read_text()
    figure = json.loads(re.search(r'<script type="application/json" id="figure">(.*?)</script>', page, re.S).group(1))  # type: ignore[union-attr]
    hovers = [text for trace in figure["data"] for text in trace.get("hovertext") or []]
    data = json.loads((tmp_path / "front.json").read_text())
    for member in data["front"]:
        text = ", ".join(f"{key}={value!r}" for key, value in member["accelerator"].items())
        assert any(text in hover for hover in hovers)
    assert {trace["name"] for trace in figure["data"]} >= {"breaks a limit", "other designs", "knee"}
    picture = re.search(r"data:image/svg\+xml;base64,([^\"]+)", page)
    assert picture
    assert base64.b64decode(picture.group(1)) == (tmp_path / "front.svg").read_bytes()
    assert "default-src 'none'" in page
    assert all(value.startswith("data:") for value in re.findall(r'(?:src|href)="([^"]*)', page.split("<script")[0]))


def test_many_designs_are_thinned_but_the_front_is_whole() -> None:
    from catransformers.reports.sweep.page import thinned

    found = sweep("embedded", "micro", scenario="always-on", values={"local_kib": [4, 16]})
    shown = thinned(found, 300)
    assert 0 < len(shown) <= 300 < len(found.table)
    assert not set(shown) & set(found.front)
    assert thinned(found, 300).tolist() == shown.tolist()
    assert len(thinned(found, len(found.table))) == len(found.table) - len(found.front)


def test_every_mistake_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    code, out, err = run(
        capsys, "sweep", "--model", "ViTB16", "--set", "text.layers=many", "--space", "egde", "--values", "pex=3",
        "--values", "pe_x=wide", "--values", "pe_y=2", "--values", "pe_y=4", "--technology", "default-22",
        "--scenario", "alwayson", "--objectives", "carbn", "--max-latency-ms", "-1", "--out", str(file),
    )  # fmt: skip
    assert code == 2
    assert not out
    for expected in (
        "'ViT-B-16'", "text.layers=many", "'edge'", "'pe_x'", "pe_x=wide", "pe_y is given twice", "'default-22nm'",
        "'always-on'", "'carbon'", "max_latency_ms: -1", "is a file",
    ):  # fmt: skip
        assert expected in err, expected
    assert "Traceback" not in err


def test_nothing_feasible_says_what_would_help(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "sweep", *SMALL, "--max-carbon-kg", "0.001", "--out", str(tmp_path / "none"))
    assert code == 3
    assert not out
    assert "the limit on carbon" in err
    assert "raise --max-carbon-kg to " in err
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_a_message(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = run(capsys, "sweep", *SMALL, "--out", str(tmp_path / "file" / "sub"))
    assert code in (1, 2)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [["sweep", *SMALL], ["sweep", *SMALL, "--json"], ["estimate", *HARDWARE, "--explain", "--json"]]
)
def test_no_torch_and_no_plotting_without_files(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from catransformers.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'botorch', 'ax', 'plotly', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "estimate", *HARDWARE, "--scenario", "always-on", "--explain")
    assert code == 0
    out = " ".join(out.split())  # lines are as wide as the terminal
    for words in (
        "What binds now", "It nearly fits", "What a change would do", "global_mib 0.5 → 1", "fits on chip",
        "What helps latency most", "What helps energy most", "What helps carbon most", "accuracy unknown",
        "Energy by operator and component", "idle power", "SRAM cells", "memory needed",
    ):  # fmt: skip
        assert words in out, words


def test_explain_is_a_key_only_if_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    _, plain, _ = run(capsys, "estimate", *HARDWARE, "--json")
    _, more, _ = run(capsys, "estimate", *HARDWARE, "--explain", "--json")
    data = json.loads(more)
    explained = data.pop("explain")
    assert data == json.loads(plain)
    assert set(explained["conclusions"]) == {"latency", "energy", "carbon"}
    assert len(explained["findings"]) == 6
    assert explained["missing_bytes"] == data["needed_bytes"] - data["buffer_bytes"]


def test_energy_by_operator(capsys: pytest.CaptureFixture[str]) -> None:
    table = "Energy by operator and component"
    assert table in run(capsys, "estimate", *HARDWARE, "--energy")[1]
    assert table not in run(capsys, "estimate", *HARDWARE)[1]


@pytest.mark.parametrize("name", ["new/roof.svg", "roof.PNG", "roof.html"])
def test_roofline(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    code, out, _ = run(capsys, "estimate", *HARDWARE, "--roofline", str(path), "--json")
    assert code == 0
    start = {".svg": b"<?xml", ".png": b"\x89PNG", ".html": b"<!DOCTYPE html>"}[path.suffix.lower()]
    assert path.read_bytes().startswith(start)
    data = json.loads(out)
    peak = data["roofline"]["peak_gops"]
    assert peak == pytest.approx(1e3 * data["tops"])
    drawn = [row for row in data["breakdown"] if row["intensity_ops_per_byte"] is not None]
    assert 0 < len(drawn) < len(data["breakdown"])
    for row in drawn:
        assert row["gops"] <= peak * (1 + 1e-9)
        if row["kind"] == "gemm":
            operations = 2 * row["m"] * row["k"] * row["n"] * row["count"]
            assert row["intensity_ops_per_byte"]["global"] == pytest.approx(operations / row["bytes_moved"]["global"])


def test_a_picture_of_no_kind_is_refused_with_everything_else(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "estimate", "--hardware", "cores=0", "--roofline", "roof.gif")
    assert code == 2
    assert ".svg, .png, .html" in err
    assert "cores" in err


def test_every_key_is_documented(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    roof = str(tmp_path / "roof.svg")
    for arguments, left_out in (
        (["sweep", *SMALL, "--values", "voltage_v=0.7,0.8"], ("scenario", "model")),
        (["estimate", *HARDWARE, "--explain", "--roofline", roof], ("scenario", "model")),
    ):
        _, out, _ = run(capsys, *arguments, "--json")
        data = json.loads(out)
        for key in left_out:
            data.pop(key)
        for key in keys_of(data):
            assert f"`{key}`" in text, key


def documented() -> list[str]:
    page = (ROOT / "docs" / "howto-hardware.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("catransformers ")]


@pytest.mark.parametrize("line", documented())
def test_documented_commands_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *shlex.split(line, comments=True)[1:])
    assert code == (3 if "# nothing feasible" in line else 0), err


def test_the_page_has_commands_of_every_kind() -> None:
    text = "\n".join(documented())
    for option in ("--explain", "--roofline", "--out", "--values", "--max-"):
        assert option in text


def test_precision_is_an_option_of_both(capsys):
    code, out, _ = run(capsys, "estimate", "--model", "embedded", *HARDWARE, "--weight-bits", "4", "--json")
    narrow = json.loads(out)
    assert (code, narrow["weight_bits"], narrow["activation_bits"]) == (0, 4, 8)
    code, out, _ = run(capsys, "estimate", "--model", "embedded", *HARDWARE, "--json")
    assert narrow["needed_bytes"] < json.loads(out)["needed_bytes"]
    code, _, err = run(capsys, "estimate", "--model", "bert-bse", "--hardware", "cores=1", "--weight-bits", "1")
    assert code == 2
    assert "did you mean 'bert-base'" in err
    assert "weight_bits: 1 is no width" in err
    assert "missing pe_x" in err
    code, _, err = run(capsys, "sweep", *SMALL, "--activation-bits", "64")
    assert code == 2
    assert "activation_bits: 64 is no width" in err
