"""The command line. Messages go to stderr; with ``--json``, one object goes to stdout."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_type_hints

import typer

from .. import registry
from ..errors import MedgradError
from ..machine.cores import set_passive_omp_wait
from ..version import VERSION

DESCRIPTION = "Gradient methods for medical images: from a folder of scans to a model that can be trusted."

TRACEBACK_VARIABLE = "MEDGRAD_TRACEBACK"

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def build_cli(arguments: Sequence[str] = ()) -> typer.Typer:
    """Build the command line from the folder of commands, or only the command that the first argument names."""
    app = typer.Typer(
        name="medgrad",
        help=DESCRIPTION,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
        if version:
            typer.echo(VERSION)
            raise typer.Exit

    root.__doc__ = DESCRIPTION
    every = registry.names("apps.verbs")
    for name in [n for n in every if n.rstrip("_") in arguments[:1]] or every:
        app.command(name.rstrip("_"))(make_command(registry.find("apps.verbs", name)))
    return app


def make_command(verb: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Turn a function into a command: it gets a progress reporter, and its result is printed."""
    hints = get_type_hints(verb, include_extras=True)
    shape = inspect.signature(verb)
    takes_progress = "progress" in shape.parameters
    parameters = [
        p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for p in shape.parameters.values()
        if p.name != "progress"
    ]
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption)

    def run(as_json: bool = False, **given: Any) -> None:
        from ..machine.allocator import keep_freed_memory
        from .terminal import Terminal

        keep_freed_memory()
        with Terminal() as terminal:
            found = verb(**given, **({"progress": terminal} if takes_progress else {}))
        if found:
            typer.echo(json.dumps(found, default=str) if as_json else format_result(found))

    run.__name__ = verb.__name__
    run.__doc__ = verb.__doc__
    run.__signature__ = inspect.Signature([*parameters, as_json])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*parameters, as_json)}
    return run


def format_result(result: dict[str, Any]) -> str:
    """Format a result for a person: its text, metrics with intervals, then paths."""
    lines = []
    for key, value in result.items():
        if key == "text":
            lines.append(str(value))
        elif key == "metrics":
            lines += [format_metric(name, m) for name, m in value.items() if m.get("value") is not None]
        elif not isinstance(value, (dict, list)) and value is not None:
            lines.append(f"{key}: {value}")
    return "\n".join(lines)


def format_metric(name: str, metric: dict[str, Any]) -> str:
    """Format one metric with its interval and number of patients."""
    low, high = metric.get("low"), metric.get("high")
    interval = f" (95 % {low:.3f} to {high:.3f}, n = {metric['n']})" if low is not None and high is not None else ""
    return f"{name:32} {metric['value']:.3f}{interval}"


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 a user's error in one line, 2 wrong usage."""
    set_passive_omp_wait()
    words = repeat_pair_options(sys.argv[1:])
    try:
        build_cli(words)(args=words, standalone_mode=True)
    except MedgradError as reason:
        exit_with_error(str(reason))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as reason:
        exit_with_error(f"{reason.filename or 'A file'}: {reason.strerror or reason}.")
    except (ValueError, LookupError) as reason:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        exit_with_error(str(reason) or type(reason).__name__)
    except Exception as reason:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        exit_with_error(
            f"This was not foreseen: {type(reason).__name__}: {reason} (with {TRACEBACK_VARIABLE}=1 the place is shown)"
        )


PAIR_OPTIONS = ("--labels", "--landmarks", "--roi")
"""The options of register that name two files."""


def repeat_pair_options(arguments: list[str]) -> list[str]:
    """Repeat an option before the second of two files that follow it with a blank between.

    >>> repeat_pair_options(["register", "--landmarks", "a.csv", "b.csv", "f.png"])
    ['register', '--landmarks', 'a.csv', '--landmarks', 'b.csv', 'f.png']
    """
    if arguments[:1] != ["register"]:
        return arguments
    found: list[str] = []
    for place, word in enumerate(arguments):
        option = arguments[place - 2] if place >= 2 else ""
        if (
            option in PAIR_OPTIONS
            and "," not in arguments[place - 1]
            and arguments.count(option) == 1
            and not word.startswith("-")
        ):
            found.append(option)
        found.append(word)
    return found


def exit_with_error(message: str) -> None:
    """Print one line and exit with code 1."""
    typer.echo("medgrad: " + " ".join(message.split()), err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
