"""What the verbs share when they read: options, model settings, scenarios, and collecting every mistake."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from catransformers.errors import InfeasibleError, InputError, Problem, Problems
from catransformers.lazy import lazy
from catransformers.workloads.spec import ModelSpec
from catransformers.workloads.zoo import named_spec

torch = lazy("torch")


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--model NAME` and `--set vision.layers=6` (repeatable)."""
    command = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="DIMENSION=VALUE",
        help="Prune a dimension, e.g. text.layers=6 (repeatable): layers, ffn_dim, embed_dim, heads; CLIP's begin with "
        "vision. or text.; Llama has kv_heads. Or give a length: BERT's tokens, Llama's prompt_tokens and new_tokens.",
    )(command)
    return click.option(
        "--model",
        default="embedded",
        show_default=True,
        metavar="NAME",
        help="embedded, ViT-B-16, ViT-B-32, ViT-L-14, ViT-H-14, TinyCLIP-8M-16, …; vit-base-patch16-224, …; "
        "bert-base, …; Llama-3.1-8B, … (an unknown name lists them all).",
    )(command)


hardware_option = click.option(
    "--hardware",
    required=True,
    metavar="ACCELERATOR",
    help="cores=…,pe_x=…,pe_y=…,local_kib=…,local_bandwidth=…,global_mib=… and, if not the nominal one, voltage_v=…",
)
technology_option = click.option(
    "--technology",
    default="default-22nm",
    show_default=True,
    metavar="NAME|FILE",
    help="default-22nm, paper or a TOML file.",
)
scenario_option = click.option(
    "--scenario",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="default, always-on, paper, paper-code or a TOML file.",
)


def precision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--weight-bits 4` and `--activation-bits 8`."""
    for what in ("activation", "weight"):
        command = click.option(
            f"--{what}-bits",
            type=int,
            default=8,
            show_default=True,
            metavar="BITS",
            help=f"Bits of each {what} value, 2 to 32.",
        )(command)
    return command


def levers_are_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command name a limit that is to be raised as its own option, not as a study file or the library does."""

    def option(found: re.Match[str]) -> str:
        return "--" + found[1].replace("_", "-")

    @wraps(command)
    def named(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except InfeasibleError as error:
            raise error.with_levers(
                [re.sub(r"(?<![\w.])(?:objectives\.)?(max_\w+)", option, lever) for lever in error.levers]
            ) from error

    return named


def read_model(name: str, settings: tuple[str, ...]) -> ModelSpec:
    """The named model with `DIMENSION=VALUE` settings applied.

    Raises:
        InputError: for an unknown model, a setting that is no `name=integer`, an unknown or impossible dimension.
    """
    values, problems = {}, Problems()
    for setting in settings:
        key, _, text = setting.partition("=")
        try:
            values[key.strip()] = int(text)
        except ValueError:
            problems.append(Problem(f"--set {setting}", "not DIMENSION=INTEGER", "e.g. vision.layers=6"))
    base = problems.of(named_spec, name)
    spec: ModelSpec | None = None
    if base is not None:
        spec = problems.of(lambda: base.with_dimensions(values))
    if spec is None or problems:
        raise InputError(problems)
    return spec


def check_device(device: str) -> None:
    """That a device can be used here.

    Raises:
        InputError: if it cannot; nothing falls back to another device in silence.
    """
    if device == "cpu":
        return
    if not torch.cuda.is_available():
        raise InputError(Problem("--device", "no CUDA device can be used here", "cpu"))
