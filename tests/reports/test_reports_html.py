from __future__ import annotations

import base64
import gzip
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from made_up_studies import SummaryOf, study_config

from catransformers.reports.figures.template import plotly_script
from catransformers.reports.study.figures import convergence_figure, front_figure
from catransformers.reports.study.html import render_html
from catransformers.reports.study.static import front_svg
from catransformers.reports.study.summary import StudySummary

VOID = {"meta", "img", "br", "link", "input", "hr"}
EVIL = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """The page's elements and visible text; notes tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts = 0
        self.visible: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.visible.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.visible).split())


@pytest.fixture(scope="module")
def page_text() -> str:
    from made_up_studies import made_up_summary

    return render_html(made_up_summary(), checkpoints={"1": "designs/01/model.safetensors"}, version="1.2.3")


@pytest.fixture(scope="module")
def page(page_text: str) -> Page:
    return Page(page_text)


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.faults == []
    assert page.open == []
    names = [value for _, name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))
    links = [value[1:] for _, name, value in page.attributes if name == "href"]
    assert set(links) <= set(names)


def test_the_page_reaches_for_nothing_outside(page: Page) -> None:
    outside = [
        a
        for a in page.attributes
        if a[1] in ("src", "href", "action", "srcset") and not a[2].startswith(("#", "data:"))
    ]
    assert outside == []
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'")


def test_the_page_is_small(page_text: str) -> None:
    assert len(page_text.encode()) < 3_000_000


def test_the_same_study_gives_the_same_page(summary: StudySummary) -> None:
    assert render_html(summary) == render_html(summary)


def test_the_page_says_what_a_reader_needs(page: Page, summary: StudySummary) -> None:
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert summary.best is not None
    for words in (
        f"esign {summary.best.name} emits",
        "hardware alone",
        "pruning alone",
        "World average",
        "g CO₂e/kWh",
        "p5 – p95",
        "the reference point (recall@1 0, carbon",
        "the fine-tune diverged at step 3",
        "expected improvement",
        "What to doubt",
        "catransformers search study.toml --out runs/made-up",
        "ab" * 32,
        'name = "made-up"',
        "Searching took 2.70 kJ of electricity",
        "estimated, not measured",
        "making the machine that searched",
        "designs/01/model.safetensors",
        "latency ≤ 33.0 ms",
    ):
        assert words in text, words
    for design in summary.front:
        assert f"Design {design.name}" in text
    assert not re.search(r"\b(None|inf)\b", text)


def test_text_is_escaped_everywhere(summary: StudySummary) -> None:
    trials = list(summary.trials)
    failed = next(i for i, t in enumerate(trials) if t.status == "failed")
    trials[failed] = replace(trials[failed], error=EVIL, origin=EVIL, reason={EVIL: 1.0})
    estimate = summary.base.estimate
    wicked = replace(
        summary,
        config=replace(study_config(), name=EVIL),
        metric=EVIL,
        trials=tuple(trials),
        base=replace(summary.base, estimate=replace(estimate, scenario=replace(estimate.scenario, name=EVIL))),
        provenance=replace(summary.provenance, command=EVIL, study_toml=EVIL, base_sha256=EVIL, versions={EVIL: EVIL}),
        warnings=(EVIL,),
    )
    page = Page(render_html(wicked, checkpoints={"1": EVIL}, version=EVIL))
    assert page.scripts == Page(render_html(summary)).scripts
    assert page.faults == []
    assert "<script>alert(1)</script>" in page.text  # as text, after unescaping
    figures = re.search(r'id="figures">(.*?)</script>', render_html(wicked), re.S)
    assert figures
    assert "<" not in figures[1]
    assert json.loads(figures[1])["front"]["layout"]["yaxis"]["title"]["text"].startswith("<script>")


def test_plotly_is_inside_and_whole(page_text: str) -> None:
    found = re.search(r'id="plotly">(.*?)</script>', page_text, re.S)
    assert found
    assert gzip.decompress(base64.b64decode(found[1])).decode().startswith("/**")
    assert found[1] == plotly_script()


@pytest.mark.parametrize(("trials", "tested"), [(0, False), (1, False), (2, True), (12, False)])
def test_studies_of_every_age_have_a_page(summary_of: SummaryOf, trials: int, tested: bool) -> None:
    page = Page(render_html(summary_of(trials, tested=tested)))
    assert page.faults == []
    assert "This study is not finished" in page.text


def test_the_front_figure_holds_the_front(summary: StudySummary) -> None:
    figure = json.loads(front_figure(summary))
    steps = next(t for t in figure["data"] if t["mode"] == "lines")
    assert steps["line"]["shape"] == "hv"
    assert steps["y"] == pytest.approx([100 * d.validation.value for d in summary.front if d.validation])
    assert steps["x"] == pytest.approx([1e3 * d.cost.objective for d in summary.front])
    roles = {t["meta"]["role"] for t in figure["data"]}
    assert roles == {"trial", "front", "base", "best"}
    markers = next(t for t in figure["data"] if t["meta"]["role"] == "front" and t["mode"] == "markers")
    assert markers["customdata"] == [d.name for d in summary.front]
    assert "recall@1" in markers["hovertext"][0]
    assert "CO₂e" in markers["hovertext"][0]


def test_the_convergence_ends_at_one_hundred(summary: StudySummary) -> None:
    trace = json.loads(convergence_figure(summary))["data"][0]
    assert trace["y"][-1] == 100
    assert trace["y"] == sorted(trace["y"])
    assert trace["x"] == list(range(1, 41))


def test_the_picture_is_the_same_each_time_and_is_xml(summary: StudySummary) -> None:
    text = front_svg(summary)
    assert text == front_svg(summary)
    assert ET.fromstring(text).tag.endswith("svg")
    assert "<dc:date>" not in text


def test_the_picture_of_a_study_without_designs(summary_of: SummaryOf) -> None:
    assert ET.fromstring(front_svg(summary_of(0, tested=False))).tag.endswith("svg")
