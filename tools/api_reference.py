"""Write docs/api.md, the reference of the Python API, from signatures and docstrings.

python tools/api_reference.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import catransformers as ct
from catransformers.api import carbon as carbon_api

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
FUNCTIONS = (
    "estimate",
    "sweep",
    "explain",
    "trace",
    "models",
    "scenario",
    "technology",
    "schedule",
    "search",
    "open_study",
    "load",
    "export",
)
CLASSES = ("Estimate", "Sweep", "Study")
HEAD = """# The Python API

```python
import catransformers as ct
```

Nothing heavy is imported before it is used, `dir(ct)` shows what there is, and errors are those of the command line
(`ct.InputError`, `ct.InfeasibleError`). [`examples/notebook.ipynb`](../examples/notebook.ipynb) uses most of it. This
page is made by `python tools/api_reference.py` from the docstrings.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Functions\n"]
    parts += [_function(f"ct.{name}", _of(name)) for name in FUNCTIONS]
    parts += [_function(f"ct.carbon.{name}", getattr(carbon_api, name)) for name in ("die", "memory", "footprint")]
    parts.append("## What they give\n")
    parts += [_class(f"ct.{name}", getattr(ct, name)) for name in CLASSES]
    return "\n".join(parts).rstrip("\n") + "\n"


def _of(name: str) -> Any:
    found = getattr(ct, name)
    return found._called() if inspect.ismodule(found) else found


def _function(name: str, function: Any) -> str:
    return f"### `{name}`\n\n```python\n{_signature(name, function)}\n```\n\n{_text(function)}\n"


def _signature(name: str, function: Any) -> str:
    """The call, one line if it fits, else an argument a line."""
    found = inspect.signature(function)
    result = "" if found.return_annotation is inspect.Signature.empty else f" -> {found.return_annotation}"
    arguments, star = [], False
    for argument in found.parameters.values():
        if argument.kind is argument.KEYWORD_ONLY and not star:
            arguments.append("*")
        star = star or argument.kind in (argument.KEYWORD_ONLY, argument.VAR_POSITIONAL)
        arguments.append(_argument(argument))
    line = f"{name}({', '.join(arguments)}){result}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){result}"


def _argument(argument: inspect.Parameter) -> str:
    """As it stands in the code; a long default as the call of its class."""
    stars = {argument.VAR_POSITIONAL: "*", argument.VAR_KEYWORD: "**"}.get(argument.kind, "")
    text = f"{stars}{argument.name}: {argument.annotation}"
    if argument.default is argument.empty:
        return text
    default = repr(argument.default)
    return f"{text} = {default if len(default) < 50 else f'{type(argument.default).__name__}()'}"


def _text(thing: Any) -> str:
    """A docstring as Markdown: its sections as bold words, its arguments as a list."""
    lines = (inspect.getdoc(thing) or "").split("\n")
    shown: list[str] = []
    for line in lines:
        head = re.fullmatch(r"(Args|Returns|Raises|Reference):(.*)", line)
        entry = re.match(r"    (\*{0,2}[\w, *]+): (.*)", line)
        if head and head[2]:
            shown.append(f"**{head[1]}**:{head[2]}")
        elif head:
            shown += [f"**{head[1]}**", ""]
        elif entry:
            shown.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            shown.append("  " + line.strip() if line.startswith("        ") else line.strip())
    return "\n".join(shown)


def _class(name: str, kind: type) -> str:
    members = [
        (member, value)
        for member, value in inspect.getmembers(kind)
        if not member.startswith("_") and (isinstance(value, property) or inspect.isfunction(value))
    ]
    rows = []
    for member, value in members:
        summary = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
        call = "" if isinstance(value, property) else "()"
        rows.append(f"- `.{member}{call}`: {summary}")
    return f"### `{name}`\n\n{_text(kind)}\n\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
