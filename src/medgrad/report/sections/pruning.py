"""What pruning did: score against cost, the baselines, and the pruned layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..curves import HEIGHT, WIDTH, ChartAxes
from ..figures import metric_title
from ..html import escape_text, format_count, format_number, header_cell, html_table, svg_image
from ..read_run import RunFiles
from ._section import Section

COST_COLUMNS = (("flops", "Work"), ("parameters", "Parameters"), ("bytes", "Bytes"), ("milliseconds", "Time"))
NETWORK_DESCRIPTIONS = {
    "best": "this run, by the patients that did not choose",
    "magnitude": "the same way down, by magnitude",
    "random": "the same way down, by chance from the widest layers",
    "narrow": "a narrow network from nothing, in the same time",
}


def pruning_section(run_files: RunFiles) -> str:
    """Return how a run was pruned from its parent, where it was."""
    pruning_result = run_files.pruning
    if not pruning_result:
        return ""
    return (
        summary_paragraph(pruning_result)
        + results_table(pruning_result)
        + compare_with_narrow(pruning_result)
        + stages_table(pruning_result)
        + draw_cost_chart(pruning_result)
        + layers_table(pruning_result)
    )


def summary_paragraph(pruning_result: Mapping[str, Any]) -> str:
    """Return the summary paragraph: target, result and test."""
    best, whole = pruning_result["best"], pruning_result["whole"]
    left = f"{best['flops'] / whole['flops']:.1%} of the work and {best['parameters'] / whole['parameters']:.1%} of the"
    verdict = best["verdict"]
    is_shown = "is shown" if verdict["holds"] else "is <strong>not</strong> shown"
    missed = (
        ""
        if pruning_result["reached"]
        else f" {escape_text(pruning_result['target'])} was asked for and was <strong>not</strong> reached."
    )
    missed += f" {escape_text(pruning_result['missed']['says'])}" if pruning_result.get("missed") else ""
    bound = format_number(verdict["bound"], decimals=4) if verdict["bound"] is not None else "unknown"
    needed = pruning_result.get("patients_needed")
    takes = f" To show that of an equal network takes about {needed:,} patients." if needed else ""
    left_out = removed_layers(pruning_result)
    layers = f" {format_count(len(left_out), 'whole layer')} went before that." if left_out else ""
    return (
        f"<p>This network takes {left} parameters of its parent, {escape_text(pruning_result['parent'])}. "
        "It was made by removing the "
        f"channels that matter least by {escape_text(pruning_result['criterion'])}, in "
        f"{format_count(len(pruning_result['rungs']), 'stage')}, each "
        f"followed by learning.{layers}{missed} That it loses less than {pruning_result['margin']:g} "
        f"{is_shown}: it loses "
        f"{format_number(verdict['loss'], decimals=4)}, at most {bound} (one-sided 95 %, paired over "
        f"{format_count(verdict['n'], 'patient')} of the validation side).{takes} {selection_note(pruning_result)}</p>"
    )


def selection_note(pruning_result: Mapping[str, Any]) -> str:
    """Return a note on which patients selected the network, and whose figures are reported."""
    chose, reported = (set(pruning_result["patients"][which]) for which in ("chose", "reported"))
    if chose & reported:
        return (
            f"The same {format_count(len(chose), 'patient')} also chose it and its weights, for there are "
            "too few to part."
        )
    return (
        f"{format_count(len(chose), 'other patient')} chose it and its weights: in the first table stand "
        "those that did not, "
        "in the second those that did."
    )


def results_table(pruning_result: Mapping[str, Any]) -> str:
    """Return the table of results on the reported patients: parent, this run, and baselines."""
    aim = escape_text(metric_title(str(pruning_result["aim"]).split("/")[0]))
    head = [
        header_cell("Network"),
        *(header_cell(name, is_number=True) for _, name in COST_COLUMNS),
        header_cell("ms", is_number=True),
    ]
    head += [
        header_cell(aim, is_number=True),
        header_cell("Loses", is_number=True),
        header_cell("At most", is_number=True),
    ]
    head += [header_cell("This run is better by", is_number=True)] if pruning_result["controls"] else []
    whole, blank = pruning_result["whole"], [""] if pruning_result["controls"] else []
    rows = [
        network_row("the parent", whole, whole, blank),
        network_row("this run", pruning_result["best"], whole, blank),
    ]
    rows += [
        network_row(NETWORK_DESCRIPTIONS.get(c["made"], c["made"]), c, whole, [format_interval(c["paired"])])
        for c in pruning_result["controls"]
    ]
    note = (
        '<p class="soft">Times are of one answer to one patch on this machine. Each network was asked in turns with '
        "its parent: what is told is the parent's time, by the median ratio.</p>"
    )
    return html_table(head, rows) + note


def format_interval(paired_difference: Mapping[str, Any]) -> str:
    """Format a paired difference with its 95 % interval."""
    value, low, high = (format_number(paired_difference[name], decimals=4) for name in ("difference", "low", "high"))
    return f"{value} ({low} to {high})" if paired_difference["low"] is not None else value


def compare_with_narrow(pruning_result: Mapping[str, Any]) -> str:
    """Compare this run with the narrow network trained from scratch, in one sentence."""
    narrow = next((c for c in pruning_result["controls"] if c["made"] == "narrow"), None)
    if narrow is None or narrow["paired"]["low"] is None:
        return ""
    paired, quick = narrow["paired"], narrow["milliseconds"] / pruning_result["best"]["milliseconds"]
    if paired["low"] > 0:
        word = "This run is better than the narrow network that learned from nothing for as long"
    elif paired["high"] < 0:
        word = "The narrow network that learned from nothing for as long is <strong>better</strong> than this run"
    else:
        word = "Nothing shows a difference in score to the narrow network that learned from nothing for as long"
    return (
        f"<p>{word} (paired over {format_count(paired['n'], 'patient')}, 95 % interval); its answer takes "
        f"{quick:.2f} times "
        "as long as that of this run.</p>"
    )


def stages_table(pruning_result: Mapping[str, Any]) -> str:
    """Return the table of the pruning stages, on the patients for selection."""
    aim = escape_text(metric_title(str(pruning_result["aim"]).split("/")[0]))
    head = [
        header_cell("Stage"),
        header_cell("Begins from"),
        header_cell("Work", is_number=True),
        header_cell("Time", is_number=True),
    ]
    head += [
        header_cell("Steps", is_number=True),
        header_cell(aim, is_number=True),
        header_cell("Loses", is_number=True),
    ]
    head += [header_cell("At most", is_number=True)]
    whole, rows = pruning_result["whole"], []
    for place, one in enumerate(pruning_result["rungs"]):
        name = f"{place + 1}{', taught by the parent' if one['taught'] else ''}"
        name += ": this run" if place == pruning_result["chosen"] else ""
        begin = "the parent" if one["begin"] < 0 else f"stage {one['begin'] + 1}"
        cells = [*(f"{one[cost] / whole[cost]:.1%}" for cost in ("flops", "milliseconds")), f"{one['steps']:,}"]
        cells += [format_number(v, decimals=4) for v in (one["score"], one["verdict"]["loss"], one["verdict"]["bound"])]
        numbers = "".join(f'<td class="number">{c}</td>' for c in cells)
        rows.append(f'<tr><th scope="row">{escape_text(name)}</th><td>{escape_text(begin)}</td>{numbers}</tr>')
    return html_table(head, rows)


def network_row(
    name: str, network: Mapping[str, Any], parent: Mapping[str, Any], extra_cells: Sequence[str] = ()
) -> str:
    """Return the table row of one network."""
    verdict = network.get("verdict") or {}
    cells = [f"{network[cost] / parent[cost]:.1%}" for cost, _ in COST_COLUMNS]
    cells += [f"{network['milliseconds']:.1f}", format_number(network["score"], decimals=4)]
    cells += [
        format_number(verdict.get("loss"), decimals=4),
        format_number(verdict.get("bound"), decimals=4),
        *extra_cells,
    ]
    return (
        f'<tr><th scope="row">{escape_text(name)}</th>'
        + "".join(f'<td class="number">{c}</td>' for c in cells)
        + "</tr>"
    )


def draw_cost_chart(pruning_result: Mapping[str, Any]) -> str:
    """Draw the loss of score against the remaining work, on a logarithmic scale."""
    whole = pruning_result["whole"]

    def chart_point(network: Mapping[str, Any]) -> tuple[float, float]:
        return math.log2(network["flops"] / whole["flops"]), -float(network["verdict"]["loss"])

    stages = [(0.0, 0.0), *map(chart_point, pruning_result["rungs"])]
    line = [(x, max(v for other, v in stages if other == x)) for x in sorted({x for x, _ in stages}, reverse=True)]
    others = [
        ("best", chart_point(pruning_result["best"])),
        *((c["made"], chart_point(c)) for c in pruning_result["controls"]),
    ]
    every = [v for _, v in stages] + [p[1] for _, p in others]
    low, high = min(every), max(every)
    pad = 0.1 * (high - low) or 0.02
    least = min(x for x, _ in [*stages, *(p for _, p in others)])
    frame = ChartAxes((math.floor(least), 0.0), (low - pad, high + pad))
    marks = [(float(x), f"{2.0**x:.0%}" if x > -6 else f"{2.0**x:.1%}") for x in range(math.floor(least), 1)]
    aim = metric_title(str(pruning_result["aim"]).split("/")[0])
    out = [frame.draw_axes(f"{aim} above that of the parent, against the work that is left", marks)]
    limit = -float(pruning_result["margin"])
    if low - pad < limit < high + pad:
        out.append(f'<path class="grid" stroke-dasharray="5 4" d="M52 {frame.to_y(limit):.1f}H{WIDTH - 12:g}"/>')
    out.append(f'<polyline class="line s0" points="{frame.format_points(line)}"/>')
    out += [f'<circle class="f0" r="3" cx="{frame.to_x(x):.1f}" cy="{frame.to_y(v):.1f}"/>' for x, v in stages]
    for place, (_, (x, v)) in enumerate(others, 1):
        out.append(f'<circle class="f{place}" r="4" cx="{frame.to_x(x):.1f}" cy="{frame.to_y(v):.1f}"/>')
    names = [
        f"stages by {pruning_result['criterion']}, by the patients that chose",
        *(NETWORK_DESCRIPTIONS.get(n, n) for n, _ in others),
    ]
    key = "".join(f"<li>{draw_dot(i)}{escape_text(name)}</li>" for i, name in enumerate(names))
    picture = svg_image(
        WIDTH, HEIGHT, "".join(out), description=f"{pruning_result['aim']} against the share of the work that is left"
    )
    return f'<figure>{picture}<ul class="key">{key}</ul></figure>'


def draw_dot(colour_index: int) -> str:
    """Draw a legend dot in the colour of a line."""
    return (
        f'<svg width="14" height="8" aria-hidden="true"><circle class="f{colour_index}" r="3.5" cx="7" cy="4"/></svg>'
    )


def layers_table(pruning_result: Mapping[str, Any]) -> str:
    """List the layers that lost channels, in the order of the network."""
    before, after = pruning_result["before"], pruning_result["widths"]
    rows = [
        f'<tr><th scope="row">{escape_text(name)}</th><td class="number">{format_channels(before[name])}</td>'
        f'<td class="number">{format_channels(after[name])}</td></tr>'
        for name in after
        if name in before and len(before[name]) > 1
    ]
    whole = [
        f'<tr><th scope="row">{escape_text(n)}</th><td></td><td class="number">left out</td></tr>'
        for n in removed_layers(pruning_result)
    ]
    rows = whole + rows
    head = [
        header_cell("Layer"),
        header_cell("Channels in, out, before", is_number=True),
        header_cell("now", is_number=True),
    ]
    inside = html_table(head, rows)
    return f"<details><summary>Which layers went: {format_count(len(rows), 'layer')}</summary>{inside}</details>"


def removed_layers(pruning_result: Mapping[str, Any]) -> list[str]:
    """List the layers that were removed whole."""
    return [name for name, numbers in pruning_result["widths"].items() if not numbers]


def format_channels(channels: Sequence[int]) -> str:
    """Format the input and output channels of a layer."""
    return " → ".join(str(n) for n in channels[:2])


THIS = Section("What pruning did", pruning_section, order=10)
