"""The API's reference is that of the code, and the notebook runs from its first cell to its last."""

import ast
import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))


def test_the_reference_is_up_to_date():
    page = runpy.run_path(str(ROOT / "tools" / "api_reference.py"))["page"]()
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == page, "run python tools/api_reference.py"


def last_value(source, names):
    """Run a cell; the value of its last expression, as a notebook shows it."""
    tree = ast.parse(source)
    shown = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if shown is None else eval(compile(ast.Expression(shown.value), "cell", "eval"), names)


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    shown = []
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            shown.append(last_value("".join(cell["source"]), names))
    html = [value._repr_html_() for value in shown if hasattr(value, "_repr_html_")]
    assert len(html) == 6  # models, a design, its explanation, a sweep, a schedule, a study
    assert all("<" in text and "&lt;" not in text for text in html)
    assert len(names["study"].trials) == 4
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["notebook"]


def test_the_notebook_is_kept_without_outputs():
    for cell in NOTEBOOK["cells"]:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None


@pytest.mark.parametrize("name", ["api.md"])
def test_lines_are_short(name):
    assert all(len(line) <= 120 for line in (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines())
