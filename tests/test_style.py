"""House rules that no linter knows: how long a function may be, how often a rule is silenced, help without imports."""

import ast
import subprocess
import sys
from pathlib import Path

import click
import pytest

import catransformers
from catransformers.cli import VERBS, cli

SOURCES = sorted(Path(catransformers.__file__).parent.rglob("*.py"))
LONGEST = 60  # lines of a function, its docstring not counted
SILENCED = 60
HEAVY = ("numpy", "torch", "pydantic", "rich", "matplotlib", "plotly", "scipy", "botorch", "jinja2")


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_no_function_is_long():
    functions = [
        (code_lines(node), node.name, path.name)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [found for found in functions if found[0] > LONGEST] == []


def test_rules_are_seldom_silenced():
    assert sum(path.read_text(encoding="utf-8").count("# noqa") for path in SOURCES) <= SILENCED


def test_help_lists_every_verb_and_imports_none():
    code = (
        "import sys\nfrom catransformers.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n"
        f"    print([name for name in {HEAVY} if name in sys.modules])"
    )
    lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert lines[-1] == "[]"
    assert {line.split()[0] for line in lines if line.startswith("  ")} >= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_s_line_and_its_help_speak_of_the_same(verb):
    """The table of verbs, which `--help` prints without importing them, has a command for each line."""
    command = cli.get_command(click.Context(cli), verb)
    assert command.name == verb
    assert command.help
    assert VERBS[verb].endswith(".")
