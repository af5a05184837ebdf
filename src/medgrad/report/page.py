"""The report page of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import metrics
from ..version import VERSION
from . import answers
from . import provenance as sources
from .contours import pictures_html
from .curves import curves_html
from .diagnostics import diagnostics_html
from .figures import decimals, interval_numbers, metric_title, metrics_table
from .html import escape_text, format_count, format_duration, format_number
from .pruning import pruning_section
from .read_run import RunFiles, read_run

HEADLINE_METRICS = (
    "dice/mean",
    "auroc",
    "map@0.5",
    "tre_mm",
    "balanced_accuracy",
    "accuracy",
    "f1",
    "hd95/mean",
    "nsd/mean",
)
METRICS_BY_TASK = {
    "segmentation": ("dice/mean", "hd95/mean", "nsd/mean"),
    "classification": ("auroc", "balanced_accuracy", "ece"),
    "detection": ("map@0.5", "map", "sensitivity@1fp"),
}
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
    """Return anchor, heading and content of every section that is not empty."""
    evaluation = run_files.evaluation
    figures = evaluation_metrics(run_files)
    makers: list[tuple[str, str, Callable[[], str]]] = [
        ("pruned", "What pruning did", lambda: pruning_section(run_files.pruning)),
        ("figures", "Figures", lambda: metrics_table(figures, has_spacing=has_spacing(run_files))),
        ("cases", "Cases", lambda: cases_section(run_files)),
        (
            "pictures",
            "Best, middling and worst answers",
            lambda: pictures_html(run_files.pictures) if run_files.pictures else "",
        ),
        (
            "confusion",
            "Confusion",
            lambda: answers.confusion_table(part) if (part := evaluation.get("confusion")) else "",
        ),
        ("calibration", "Calibration", lambda: calibration_section(run_files)),
        ("failures", "Failures", lambda: answers.failures_table(run_files.cases) if run_files.cases else ""),
        ("data", "Data", lambda: sources.data_section(run_files.cohort) if run_files.cohort else ""),
        ("split", "Who was in which split", lambda: sources.split_section(run_files.cohort)),
        ("training", "Training", lambda: training_section(run_files)),
        (
            "health",
            "Health of the network",
            lambda: diagnostics_html(run_files.steps, run_files.run_facts.get("healed", ())),
        ),
        (
            "recipe",
            "Recipe",
            lambda: f"<pre>{escape_text(run_files.recipe.strip())}</pre>" if run_files.recipe.strip() else "",
        ),
        ("machine", "Versions and machine", lambda: sources.provenance_table(run_files.run_facts)),
        ("terms", "How each number is defined", lambda: definitions_section(run_files)),
        ("missing", "What could not be read", lambda: unreadable_files_list(run_files)),
    ]
    return [(name, heading, inside) for name, heading, make in makers if (inside := section_or_error(heading, make))]


def section_or_error(heading: str, make_section: Callable[[], str]) -> str:
    """Build a section, or one sentence where the run's files are not as expected."""
    try:
        return make_section()
    except DAMAGED_FILE_ERRORS:
        why = "could not be drawn: a file of the run does not hold what a run writes."
        return f'<p class="soft">{escape_text(heading)} {why}</p>'


def evaluation_metrics(run_files: RunFiles) -> Mapping[str, Any]:
    """Return the metrics of the evaluation by name."""
    figures = run_files.evaluation.get("metrics")
    return figures if isinstance(figures, Mapping) else {}


def has_spacing(run_files: RunFiles) -> bool:
    """Tell whether the images had a spacing."""
    return not any(name.startswith("size_bias_px") for name in evaluation_metrics(run_files))


def choose_main_metrics(run_files: RunFiles) -> list[str]:
    """Choose the metrics for the top of the page: those of the task, else the first available."""
    figures = evaluation_metrics(run_files)
    wanted = [*METRICS_BY_TASK.get(task_name(run_files), ()), *HEADLINE_METRICS]
    chosen = [n for n in dict.fromkeys(wanted) if n in figures and interval_numbers(figures[n])["value"] is not None]
    return (chosen or [n for n in figures if interval_numbers(figures[n])["value"] is not None])[:3]


def task_name(run_files: RunFiles) -> str:
    """Return the name of the run's task."""
    return str(run_files.evaluation.get("task") or run_files.cohort.get("task") or "")


def page_title(run_files: RunFiles) -> str:
    """Return the page title: the task and its labels."""
    task, labels = task_name(run_files).capitalize() or "Run", run_files.cohort.get("labels")
    if not isinstance(labels, list) or not labels:
        return task
    if all(str(v).isdigit() for v in labels):
        return f"{task} of {format_count(len(labels), 'class' if task == 'Classification' else 'label')}"
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
    side = sources.SPLIT_NAMES.get(str(evaluation.get("split") or ""), str(evaluation.get("split") or ""))
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
        out.append(metric_card(answers.metric_label(name), format_number(row["value"], decimals=d), note, unit=unit))
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
    count = look.get("n_leaks") or len(sources.as_list(look.get("leaks")))
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


def cases_section(run_files: RunFiles) -> str:
    """Return the section of single cases: a plot of all and a table of the worst."""
    columns = {n for row in run_files.cases[:200] for n in row}
    if any(n.startswith("truth/") for n in columns):
        rows = answers.add_truth_probability(run_files.cases)
        return answers.draw_sorted_cases(rows, answers.TRUTH_PROBABILITY) + answers.worst_cases_table(
            rows, [answers.TRUTH_PROBABILITY], text_columns=["truth"]
        )
    names = [n for n in (*METRICS_BY_TASK.get(task_name(run_files), ()), *HEADLINE_METRICS) if n in columns]
    names = list(dict.fromkeys(names))[:3]
    return (
        answers.draw_sorted_cases(run_files.cases, names[0]) + answers.worst_cases_table(run_files.cases, names)
        if names
        else ""
    )


def calibration_section(run_files: RunFiles) -> str:
    """Return the calibration section, where the task has one."""
    part, fitted = run_files.evaluation.get("calibration"), run_files.run_facts.get("calibration")
    if not isinstance(part, Mapping):
        return ""
    return answers.calibration_html({**(fitted if isinstance(fitted, Mapping) else {}), **part})


def training_section(run_files: RunFiles) -> str:
    """Return the training curves, with a note where there was no validation."""
    drawn = curves_html(run_files.steps)
    if drawn and not any("valid" in row for row in run_files.steps):
        drawn += '<p class="soft">No validation cases were set aside, so there is no curve on them.</p>'
    return drawn


def definitions_section(run_files: RunFiles) -> str:
    """Return the definitions of the metrics on the page."""
    figures = evaluation_metrics(run_files)
    return (
        sources.metric_definitions(list(figures), split=str(run_files.evaluation.get("split") or "")) if figures else ""
    )


def unreadable_files_list(run_files: RunFiles) -> str:
    """List the files that could not be read."""
    from .html import bullet_list

    notes: Sequence[str] = run_files.unreadable
    return bullet_list(list(notes))
