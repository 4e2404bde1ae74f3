"""The command line: one short module a verb, imported only when that verb is used.

A user's mistake ends in a message and exit code 2 (or 3: nothing feasible; 130: interrupted), never a traceback.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from catransformers import __version__
from catransformers.errors import CatransformersError, InputError, unknown_name
from catransformers.extras import not_installed

#: verb → one line of help; the verb's module has a click command of the same name.
VERBS = {
    "demo": "Try the whole tool offline, in minutes: search the embedded study and write its report.",
    "search": "Run or resume a study: find the models and accelerators that emit the least carbon.",
    "estimate": "Latency, energy, area and carbon of one model on one accelerator.",
    "sweep": "One model on every accelerator of a space: the exact front of carbon, latency, energy, area.",
    "status": "Show what a study knows so far: trials, front, time left.",
    "analyse": "Ask a study more: fronts under other limits, designs of equal accuracy, carbon shares, what is pruned.",
    "report": "Write a study's report: one HTML file, CSV and JSON of the front, checkpoints.",
    "train": "Train a trial's model to the end, with its base as teacher; several GPUs, exact resume.",
    "evaluate": "Evaluate a model: on clip-benchmark's data sets, or on its study's task.",
    "export": "Write a model for other tools: Hugging Face, open_clip, timm, ONNX; with a model card.",
    "carbon": "The carbon model on its own: dies, memory, grids, scenarios, comparisons, sensitivity of a front.",
    "schedule": "When, and in which region, a job's electricity emits the least carbon.",
    "doctor": "Check what is installed and what is missing, with the command that fixes it.",
}


class _Verbs(click.Group):
    """A group whose commands are imported when they are asked for; `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"catransformers.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise InputError(unknown_name("catransformers", "command", args[0], VERBS))
        return super().resolve_command(ctx, args)


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="catransformers")
def cli() -> None:
    """Find transformer models and the accelerators to run them on that together emit the least carbon.

    Start with `catransformers demo`. Exit codes: 0 done, 1 failed (a damaged file, a full disk), 2 bad input,
    3 nothing feasible, 130 interrupted (run the same command to go on).
    """


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `catransformers` command; always leaves by SystemExit."""
    try:
        code = cli.main(args=arguments, prog_name="catransformers", standalone_mode=False)
    except click.exceptions.Abort:
        _say("interrupted: run the same command to go on")
        sys.exit(130)
    except KeyboardInterrupt:
        _say("interrupted: run the same command to go on")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except InputError as error:
        for problem in error.problems:
            _say(f"error: {problem}")
        sys.exit(error.exit_code)
    except CatransformersError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        missing = not_installed(error)
        if missing is None:
            raise
        _say(f"error: {missing}")
        sys.exit(missing.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # a full disk, a folder that is a file: the file system's word is all there is to say
        place = f"{error.filename}: " if error.filename else ""
        _say(f"error: {place}{error.strerror or error}")
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _say(text: str) -> None:
    click.echo(text, err=True)
