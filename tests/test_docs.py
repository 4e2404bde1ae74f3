"""What the documentation shows is true: commands run, study files are right, links lead somewhere, keys are listed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from catransformers.cli import main
from catransformers.config.section import Within
from catransformers.config.study import StudyConfig, parse, read

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def estimates():
    for page in PAGES:
        for block in blocks(page, ""):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("catransformers estimate"):
                    yield pytest.param(line, id=f"{page.name}:{len(line)}")


@pytest.mark.parametrize("line", list(estimates()))
def test_estimates_in_the_docs_run(capsys, line):
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line, comments=True)[1:])
    assert ended.value.code == 0, capsys.readouterr().err


def test_the_estimate_that_the_readme_prints(capsys):
    text = (ROOT / "README.md").read_text()
    line = next(p.values[0] for p in estimates() if "ViT-B-16" in p.values[0])
    with pytest.raises(SystemExit):
        main(shlex.split(line, comments=True)[1:])
    out = capsys.readouterr().out
    claimed = re.search(
        r"prints latency ([\d.]+ ms), energy ([\d.]+) mJ \(([\d.]+) pJ an operation\), die ([\d.]+)", text
    )
    latency, energy, per_operation, area = claimed.groups()
    assert latency[:-3] in out
    assert energy in out
    assert per_operation in out
    assert area in out


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_study_files_in_the_docs_are_right(page):
    studies = [text for text in blocks(page, "toml") if not text.startswith("[project.")]  # others are pyproject files
    for text in studies:
        config, problems = parse(text, page.name)
        assert not problems
        assert config.name


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.name)
def test_examples_are_right(path):
    _, problems = read(path)
    assert not problems


def test_every_key_of_a_study_file_is_documented():
    page = (ROOT / "docs" / "study-file.md").read_text()
    for section, rule in StudyConfig.rules().items():
        assert f"`{section}`" in page or f"`[{section}]`" in page
        for key in rule.kind.rules() if isinstance(rule, Within) else ():
            assert f"`{key}`" in page, f"{section}.{key}"


def schedules():
    for block in blocks(ROOT / "docs" / "howto-schedule.md", ""):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("catransformers schedule"):
                yield pytest.param(line, id=line[23:60])


@pytest.mark.parametrize("line", list(schedules()))
def test_schedules_in_the_docs_run(capsys, tmp_path, monkeypatch, line):
    page = ROOT / "docs" / "howto-schedule.md"
    (tmp_path / "my-grid.csv").write_text(blocks(page, "csv")[0])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line, comments=True)[1:])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    if "--hours 6 --deadline 24h" in line:
        claim = re.search(
            r"start at (\d\d:\d\d) the next .*?: ([\d.]+) g/kWh on average instead of ([\d.]+), (\d+ %)",
            page.read_text(),
        )
        for figure in claim.groups():
            assert figure in out


@pytest.mark.parametrize("number", [0, 1], ids=["family", "task"])
def test_what_extends_the_package_passes_its_kit(tmp_path, number):
    page = ROOT / "docs" / "howto-extend.md"
    code, kit = blocks(page, "python")[2 * number : 2 * number + 2]
    module, test = re.findall(r"`((?:test_)?\w+)\.py`", page.read_text())[2 * number : 2 * number + 2]
    assert test == f"test_{module}"
    (tmp_path / f"{module}.py").write_text(code)
    (tmp_path / f"{test}.py").write_text(kit)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"{test}.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert ran.returncode == 0, ran.stdout
    assert int(re.search(r"(\d+) passed", ran.stdout)[1]) >= 9
    assert "failed" not in ran.stdout
