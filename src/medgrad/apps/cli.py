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
from ..machine.cores import sleep_while_waiting
from ..version import VERSION

ABOUT = "Gradient methods for medical images: from a folder of scans to a model that can be trusted."

TRACEBACK = "MEDGRAD_TRACEBACK"

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def build(words: Sequence[str] = ()) -> typer.Typer:
    """Build the command line from the folder of commands, or only the command that the first argument names."""
    app = typer.Typer(
        name="medgrad",
        help=ABOUT,
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

    root.__doc__ = ABOUT
    every = registry.names("apps.verbs")
    for name in [n for n in every if n.rstrip("_") in words[:1]] or every:
        app.command(name.rstrip("_"))(command(registry.find("apps.verbs", name)))
    return app


def command(verb: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Turn a function into a command: it gets a progress reporter, and its result is printed."""
    hints = get_type_hints(verb, include_extras=True)
    shape = inspect.signature(verb)
    takes_progress = "progress" in shape.parameters
    kept = [
        p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for p in shape.parameters.values()
        if p.name != "progress"
    ]
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption)

    def run(as_json: bool = False, **given: Any) -> None:
        from ..machine.allocator import keep_memory
        from .terminal import Terminal

        keep_memory()
        with Terminal() as terminal:
            found = verb(**given, **({"progress": terminal} if takes_progress else {}))
        if found:
            typer.echo(json.dumps(found, default=str) if as_json else sentences(found))

    run.__name__ = verb.__name__
    run.__doc__ = verb.__doc__
    run.__signature__ = inspect.Signature([*kept, as_json])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*kept, as_json)}
    return run


def sentences(found: dict[str, Any]) -> str:
    """Format a result for a person: its text, metrics with intervals, then paths."""
    lines = []
    for key, value in found.items():
        if key == "text":
            lines.append(str(value))
        elif key == "metrics":
            lines += [figure(name, m) for name, m in value.items() if m.get("value") is not None]
        elif not isinstance(value, (dict, list)) and value is not None:
            lines.append(f"{key}: {value}")
    return "\n".join(lines)


def figure(name: str, found: dict[str, Any]) -> str:
    """Format one metric with its interval and number of patients."""
    low, high = found.get("low"), found.get("high")
    between = f" (95 % {low:.3f} to {high:.3f}, n = {found['n']})" if low is not None and high is not None else ""
    return f"{name:32} {found['value']:.3f}{between}"


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 a user's error in one line, 2 wrong usage."""
    sleep_while_waiting()
    words = each_alone(sys.argv[1:])
    try:
        build(words)(args=words, standalone_mode=True)
    except MedgradError as reason:
        fail(str(reason))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as reason:
        fail(f"{reason.filename or 'A file'}: {reason.strerror or reason}.")
    except (ValueError, LookupError) as reason:
        if os.environ.get(TRACEBACK):
            raise
        fail(str(reason) or type(reason).__name__)
    except Exception as reason:
        if os.environ.get(TRACEBACK):
            raise
        fail(f"This was not foreseen: {type(reason).__name__}: {reason} (with {TRACEBACK}=1 the place is shown)")


PAIRS = ("--labels", "--landmarks", "--roi")
"""The options of register that name two files."""


def each_alone(words: list[str]) -> list[str]:
    """Repeat an option before the second of two files that follow it with a blank between.

    >>> each_alone(["register", "--landmarks", "a.csv", "b.csv", "f.png"])
    ['register', '--landmarks', 'a.csv', '--landmarks', 'b.csv', 'f.png']
    """
    if words[:1] != ["register"]:
        return words
    found: list[str] = []
    for place, word in enumerate(words):
        option = words[place - 2] if place >= 2 else ""
        if option in PAIRS and "," not in words[place - 1] and words.count(option) == 1 and not word.startswith("-"):
            found.append(option)
        found.append(word)
    return found


def fail(text: str) -> None:
    """Print one line and exit with code 1."""
    typer.echo("medgrad: " + " ".join(text.split()), err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
