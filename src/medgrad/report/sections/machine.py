"""Versions, machine, times and the command of a run."""

from __future__ import annotations

from ..html import Markup, escape_text, facts_table, format_duration
from ..read_run import RunFiles
from ._section import Section


def machine_section(run_files: RunFiles) -> str:
    """Return a table of versions, machine, times and the command."""
    run_facts = run_files.run_facts
    parameters = run_facts.get("parameters")
    command = run_facts.get("command")
    words = " ".join(str(v) for v in command) if isinstance(command, list) else command
    return facts_table(
        [
            ("medgrad", run_facts.get("medgrad")),
            ("PyTorch", run_facts.get("torch")),
            ("Python", run_facts.get("python")),
            ("Machine", run_facts.get("machine")),
            ("Started", run_facts.get("started")),
            ("Finished", run_facts.get("finished")),
            ("Time", format_duration(run_facts.get("seconds"))),
            ("Ended by", run_facts.get("ended_by")),
            ("Steps", f"{run_facts['steps']:,}" if isinstance(run_facts.get("steps"), int) else run_facts.get("steps")),
            ("Parameters", f"{parameters:,}" if isinstance(parameters, int) else parameters),
            ("Seed", run_facts.get("seed")),
            ("Command", Markup(f"<code>{escape_text(words)}</code>") if words else None),
        ]
    )


THIS = Section("Versions and machine", machine_section, order=130)
