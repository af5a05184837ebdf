"""The report page of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

from .. import metrics, registry
from ..version import VERSION
from .figures import SPLIT_TITLES, decimals, interval_numbers, metric_label, metric_title
from .headline import choose_main_metrics, evaluation_metrics, has_spacing
from .html import escape_text, format_count, format_duration, format_number
from .read_run import RunFiles, as_list, read_run

SECTIONS_PACKAGE = "report.sections"
FEW_PATIENTS = 10
DAMAGED_FILE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


def write(run: Path | str) -> Path:
    """Write ``report.html`` into a run's folder, and return its path."""
    path = Path(run) / "report.html"
    path.write_text(run_page(read_run(run)), encoding="utf-8")
    return path


def run_page(run_files: RunFiles) -> str:
    """Build the report page of a run."""
    parts = page_sections(run_files)
    links = "".join(f'<li><a href="#{name}">{escape_text(heading)}</a></li>' for name, heading, _ in parts)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape_text(heading)}</h2>{inside}</section>'
        for name, heading, inside in parts
    )
    heading = page_title(run_files)
    top = (
        f'{leak_banner(run_files)}<header><p class="kicker">{page_subtitle(run_files)}</p><h1>'
        f"{escape_text(heading)}</h1>"
        f'<p class="verdict">{verdict_sentence(run_files)}</p>'
        f"{metric_cards(run_files)}{warnings_banner(run_files)}</header>"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>'
    )
    return html_document(heading, top + body)


def html_document(heading: str, body: str) -> str:
    """Build a self-contained HTML document: no script, no font, no network."""
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">'
        f"<title>{escape_text(heading)}</title><style>\n{style}</style></head><body><main>{body}<footer>"
        "Made by medgrad "
        f"{escape_text(VERSION)}. A model that was measured on one set of patients must be measured again "
        "before it is used "
        "on others; this page is no approval for clinical use.</footer></main></body></html>\n"
    )


def page_sections(run_files: RunFiles) -> list[tuple[str, str, str]]:
    """Return anchor, heading and content of every section that is not empty, in the order of the page."""
    found = [(name, registry.find(SECTIONS_PACKAGE, name)) for name in registry.names(SECTIONS_PACKAGE)]
    ordered = sorted(found, key=lambda pair: pair[1].order)
    made = ((name, part.heading, section_or_error(part.heading, part.make, run_files)) for name, part in ordered)
    return [(name, heading, inside) for name, heading, inside in made if inside]


def section_or_error(heading: str, make: Callable[[RunFiles], str], run_files: RunFiles) -> str:
    """Build a section, or one sentence where the run's files are not as expected."""
    try:
        return make(run_files)
    except DAMAGED_FILE_ERRORS:
        why = "could not be drawn: a file of the run does not hold what a run writes."
        return f'<p class="soft">{escape_text(heading)} {why}</p>'


def page_title(run_files: RunFiles) -> str:
    """Return the page title: the task and its labels."""
    evaluation, cohort = run_files.evaluation, run_files.cohort
    task = str(evaluation.get("task") or cohort.get("task") or "Run").capitalize()
    labels = cohort.get("labels")
    if not isinstance(labels, list) or not labels:
        return task
    if all(str(v).isdigit() for v in labels):
        return f"{task} of {format_count(len(labels), str(evaluation.get('label_noun') or 'label'))}"
    return f"{task}: {', '.join(str(v) for v in labels[:6])}{', …' if len(labels) > 6 else ''}"


def page_subtitle(run_files: RunFiles) -> str:
    """Return the line above the title: the run and its date."""
    when = str(run_files.run_facts.get("finished") or run_files.run_facts.get("started") or "")[:16].replace("T", " ")
    return " · ".join(escape_text(p) for p in (f"Run {run_files.folder.resolve().name}", when) if p)


def verdict_sentence(run_files: RunFiles) -> str:
    """Return one sentence with the main result."""
    chosen = choose_main_metrics(run_files)
    if not chosen:
        return "This run has not been evaluated yet, so there are no figures."
    row = interval_numbers(evaluation_metrics(run_files)[chosen[0]])
    value, low, high = (format_number(row[k], decimals=decimals(chosen[0])) for k in ("value", "low", "high"))
    interval = f" (95 % interval {low} to {high})" if row["low"] is not None else ""
    evaluation = run_files.evaluation
    side = SPLIT_TITLES.get(str(evaluation.get("split") or ""), str(evaluation.get("split") or ""))
    patients, failed = evaluation.get("patients"), evaluation.get("failed")
    side = "" if side in ("no side", "all") else side
    of = f" on {patients} {side} patients".replace("  ", " ") if isinstance(patients, int) else ""
    name = f"{metric_title(chosen[0].split('/')[0])}{' averaged over labels' if chosen[0].endswith('/mean') else ''}"
    unit = metrics.unit_of(chosen[0], has_spacing=has_spacing(run_files))
    ends = (
        f" {format_count(failed, 'case')} failed and counts as the worst." if failed and isinstance(failed, int) else ""
    )
    ends = ends.replace("failed and counts", "failed and count") if isinstance(failed, int) and failed > 1 else ends
    return (
        f"{escape_text(name)} is <strong>{value}{f' {escape_text(unit)}' if unit else ''}</strong>"
        f"{interval}{escape_text(of)}.{ends}"
    )


def metric_card(name: str, value: str, note: str, *, unit: str = "", kind: str = "") -> str:
    """Build a card with one key figure."""
    word = f' <span class="unit">{escape_text(unit)}</span>' if unit else ""
    inside = f"<dt>{escape_text(name)}</dt><dd>{value}{word}</dd><dd>{escape_text(note)}</dd>"
    return f'<div class="card {kind}">{inside}</div>'


def metric_cards(run_files: RunFiles) -> str:
    """Build the cards: main metrics, patients, failures, training time."""
    out = []
    figures = evaluation_metrics(run_files)
    for name in choose_main_metrics(run_files):
        row, d = interval_numbers(figures[name]), decimals(name)
        has = row["low"] is not None
        note = (
            f"{format_number(row['low'], decimals=d)} to {format_number(row['high'], decimals=d)}"
            if has
            else "no interval"
        )
        unit = metrics.unit_of(name, has_spacing=has_spacing(run_files))
        out.append(metric_card(metric_label(name), format_number(row["value"], decimals=d), note, unit=unit))
    evaluation = run_files.evaluation
    if isinstance(evaluation.get("patients"), int):
        cases, failed = evaluation.get("cases"), evaluation.get("failed")
        note = format_count(cases, "case") if isinstance(cases, int) else ""
        lost = f", {failed} failed" if failed else ", none failed" if failed == 0 else ""
        out.append(
            metric_card("Patients measured", str(evaluation["patients"]), note + lost, kind="bad" if failed else "")
        )
    if run_files.run_facts.get("seconds"):
        steps = run_files.run_facts.get("steps")
        note = f"{steps:,} steps" if isinstance(steps, int) else ""
        out.append(
            metric_card(
                "Training time", escape_text(format_duration(run_files.run_facts["seconds"], in_minutes=True)), note
            )
        )
    return f'<dl class="cards">{"".join(out)}</dl>' if out else ""


def leak_banner(run_files: RunFiles) -> str:
    """Return a red banner if a leak was allowed, or nothing."""
    if not run_files.cohort.get("allow_leak"):
        return ""
    look = run_files.cohort.get("look")
    look = look if isinstance(look, Mapping) else {}
    count = look.get("n_leaks") or len(as_list(look.get("leaks")))
    what = (
        f" {format_count(count, 'leak was', 'leaks were')} found; see Data." if isinstance(count, int) and count else ""
    )
    return (
        '<div class="banner bad" role="alert"><p><strong>A leak between the sides of the split was allowed.</strong> '
        "The same patient or the same image may have been trained on and measured, so the figures below are likely "
        f"to be better than they will be on new patients.{what}</p></div>"
    )


def warnings_banner(run_files: RunFiles) -> str:
    """Return a banner of caveats about the figures."""
    evaluation, out = run_files.evaluation, []
    told = evaluation.get("told")
    if evaluation.get("split") == "val" and not told:
        out.append("Measured on validation cases, which also chose the model. Expect less on new patients.")
    if evaluation.get("split") == "train":
        out.append("Measured on the cases that were trained on. This says nothing about new patients.")
    patients = evaluation.get("patients")
    if isinstance(patients, int) and 0 < patients < FEW_PATIENTS:
        out.append(f"Only {format_count(patients, 'patient')} stand behind the figures: the intervals are rough.")
    out += [str(t) for t in told] if isinstance(told, list) else []
    lines = "".join(f"<p>{escape_text(t)}</p>" for t in out)
    return (
        f'<div class="banner care"><p><strong>Before you believe the figures</strong></p>{lines}</div>' if out else ""
    )
