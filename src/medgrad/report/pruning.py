"""Report section on pruning: score against cost, the baselines, and the pruned layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .curves import HEIGHT, WIDTH, Frame
from .figures import title
from .html import column, number, plural, svg, table, text

COSTS = (("flops", "Work"), ("parameters", "Parameters"), ("bytes", "Bytes"), ("milliseconds", "Time"))
MADE = {
    "best": "this run, by the patients that did not choose",
    "magnitude": "the same way down, by magnitude",
    "random": "the same way down, by chance from the widest layers",
    "narrow": "a narrow network from nothing, in the same time",
}


def pruned(found: Mapping[str, Any]) -> str:
    """Return the section on how a run was pruned from its parent."""
    if not found:
        return ""
    return words(found) + standings(found) + against(found) + way(found) + chart(found) + layers(found)


def words(found: Mapping[str, Any]) -> str:
    """Return the summary paragraph: target, result and test."""
    best, whole = found["best"], found["whole"]
    left = f"{best['flops'] / whole['flops']:.1%} of the work and {best['parameters'] / whole['parameters']:.1%} of the"
    verdict = best["verdict"]
    held = "is shown" if verdict["holds"] else "is <strong>not</strong> shown"
    missed = "" if found["reached"] else f" {text(found['target'])} was asked for and was <strong>not</strong> reached."
    missed += f" {text(found['missed']['says'])}" if found.get("missed") else ""
    bound = number(verdict["bound"], digits=4) if verdict["bound"] is not None else "unknown"
    needed = found.get("patients_needed")
    takes = f" To show that of an equal network takes about {needed:,} patients." if needed else ""
    left_out = gone(found)
    layers = f" {plural(len(left_out), 'whole layer')} went before that." if left_out else ""
    return (
        f"<p>This network takes {left} parameters of its parent, {text(found['parent'])}. It was made by removing the "
        f"channels that matter least by {text(found['criterion'])}, in {plural(len(found['rungs']), 'stage')}, each "
        f"followed by learning.{layers}{missed} That it loses less than {found['margin']:g} {held}: it loses "
        f"{number(verdict['loss'], digits=4)}, at most {bound} (one-sided 95 %, paired over "
        f"{plural(verdict['n'], 'patient')} of the validation side).{takes} {chose(found)}</p>"
    )


def chose(found: Mapping[str, Any]) -> str:
    """Return a note on which patients selected the network, and whose figures are reported."""
    chose, reported = (set(found["patients"][which]) for which in ("chose", "reported"))
    if chose & reported:
        return f"The same {plural(len(chose), 'patient')} also chose it and its weights, for there are too few to part."
    return (
        f"{plural(len(chose), 'other patient')} chose it and its weights: in the first table stand those that did not, "
        "in the second those that did."
    )


def standings(found: Mapping[str, Any]) -> str:
    """Return the table of results on the reported patients: parent, this run, and baselines."""
    aim = text(title(str(found["aim"]).split("/")[0]))
    head = [column("Network"), *(column(name, number=True) for _, name in COSTS), column("ms", number=True)]
    head += [column(aim, number=True), column("Loses", number=True), column("At most", number=True)]
    head += [column("This run is better by", number=True)] if found["controls"] else []
    whole, blank = found["whole"], [""] if found["controls"] else []
    rows = [row("the parent", whole, whole, blank), row("this run", found["best"], whole, blank)]
    rows += [row(MADE.get(c["made"], c["made"]), c, whole, [interval(c["paired"])]) for c in found["controls"]]
    note = (
        '<p class="soft">Times are of one answer to one patch on this machine. Each network was asked in turns with '
        "its parent: what is told is the parent's time, by the median ratio.</p>"
    )
    return table(head, rows) + note


def interval(paired: Mapping[str, Any]) -> str:
    """Format a paired difference with its 95 % interval."""
    value, low, high = (number(paired[name], digits=4) for name in ("difference", "low", "high"))
    return f"{value} ({low} to {high})" if paired["low"] is not None else value


def against(found: Mapping[str, Any]) -> str:
    """Compare this run with the narrow network trained from scratch, in one sentence."""
    narrow = next((c for c in found["controls"] if c["made"] == "narrow"), None)
    if narrow is None or narrow["paired"]["low"] is None:
        return ""
    paired, quick = narrow["paired"], narrow["milliseconds"] / found["best"]["milliseconds"]
    if paired["low"] > 0:
        word = "This run is better than the narrow network that learned from nothing for as long"
    elif paired["high"] < 0:
        word = "The narrow network that learned from nothing for as long is <strong>better</strong> than this run"
    else:
        word = "Nothing shows a difference in score to the narrow network that learned from nothing for as long"
    return (
        f"<p>{word} (paired over {plural(paired['n'], 'patient')}, 95 % interval); its answer takes {quick:.2f} times "
        "as long as that of this run.</p>"
    )


def way(found: Mapping[str, Any]) -> str:
    """Return the table of the pruning stages, on the patients for selection."""
    aim = text(title(str(found["aim"]).split("/")[0]))
    head = [column("Stage"), column("Begins from"), column("Work", number=True), column("Time", number=True)]
    head += [column("Steps", number=True), column(aim, number=True), column("Loses", number=True)]
    head += [column("At most", number=True)]
    whole, rows = found["whole"], []
    for place, one in enumerate(found["rungs"]):
        name = f"{place + 1}{', taught by the parent' if one['taught'] else ''}"
        name += ": this run" if place == found["chosen"] else ""
        begin = "the parent" if one["begin"] < 0 else f"stage {one['begin'] + 1}"
        cells = [*(f"{one[cost] / whole[cost]:.1%}" for cost in ("flops", "milliseconds")), f"{one['steps']:,}"]
        cells += [number(v, digits=4) for v in (one["score"], one["verdict"]["loss"], one["verdict"]["bound"])]
        numbers = "".join(f'<td class="number">{c}</td>' for c in cells)
        rows.append(f'<tr><th scope="row">{text(name)}</th><td>{text(begin)}</td>{numbers}</tr>')
    return table(head, rows)


def row(name: str, one: Mapping[str, Any], whole: Mapping[str, Any], more: Sequence[str] = ()) -> str:
    """Return the table row of one network."""
    verdict = one.get("verdict") or {}
    cells = [f"{one[cost] / whole[cost]:.1%}" for cost, _ in COSTS]
    cells += [f"{one['milliseconds']:.1f}", number(one["score"], digits=4)]
    cells += [number(verdict.get("loss"), digits=4), number(verdict.get("bound"), digits=4), *more]
    return f'<tr><th scope="row">{text(name)}</th>' + "".join(f'<td class="number">{c}</td>' for c in cells) + "</tr>"


def chart(found: Mapping[str, Any]) -> str:
    """Draw the loss of score against the remaining work, on a logarithmic scale."""
    whole = found["whole"]

    def at(one: Mapping[str, Any]) -> tuple[float, float]:
        return math.log2(one["flops"] / whole["flops"]), -float(one["verdict"]["loss"])

    stages = [(0.0, 0.0), *map(at, found["rungs"])]
    line = [(x, max(v for other, v in stages if other == x)) for x in sorted({x for x, _ in stages}, reverse=True)]
    others = [("best", at(found["best"])), *((c["made"], at(c)) for c in found["controls"])]
    every = [v for _, v in stages] + [p[1] for _, p in others]
    low, high = min(every), max(every)
    pad = 0.1 * (high - low) or 0.02
    least = min(x for x, _ in [*stages, *(p for _, p in others)])
    frame = Frame((math.floor(least), 0.0), (low - pad, high + pad))
    marks = [(float(x), f"{2.0**x:.0%}" if x > -6 else f"{2.0**x:.1%}") for x in range(math.floor(least), 1)]
    aim = title(str(found["aim"]).split("/")[0])
    out = [frame.axes(f"{aim} above that of the parent, against the work that is left", marks)]
    limit = -float(found["margin"])
    if low - pad < limit < high + pad:
        out.append(f'<path class="grid" stroke-dasharray="5 4" d="M52 {frame.y(limit):.1f}H{WIDTH - 12:g}"/>')
    out.append(f'<polyline class="line s0" points="{frame.points(line)}"/>')
    out += [f'<circle class="f0" r="3" cx="{frame.x(x):.1f}" cy="{frame.y(v):.1f}"/>' for x, v in stages]
    for place, (_, (x, v)) in enumerate(others, 1):
        out.append(f'<circle class="f{place}" r="4" cx="{frame.x(x):.1f}" cy="{frame.y(v):.1f}"/>')
    names = [f"stages by {found['criterion']}, by the patients that chose", *(MADE.get(n, n) for n, _ in others)]
    key = "".join(f"<li>{dot(i)}{text(name)}</li>" for i, name in enumerate(names))
    picture = svg(WIDTH, HEIGHT, "".join(out), says=f"{found['aim']} against the share of the work that is left")
    return f'<figure>{picture}<ul class="key">{key}</ul></figure>'


def dot(place: int) -> str:
    """Draw a legend dot in the colour of a line."""
    return f'<svg width="14" height="8" aria-hidden="true"><circle class="f{place}" r="3.5" cx="7" cy="4"/></svg>'


def layers(found: Mapping[str, Any]) -> str:
    """List the layers that lost channels, in the order of the network."""
    before, after = found["before"], found["widths"]
    rows = [
        f'<tr><th scope="row">{text(name)}</th><td class="number">{shape(before[name])}</td>'
        f'<td class="number">{shape(after[name])}</td></tr>'
        for name in after
        if name in before and len(before[name]) > 1
    ]
    whole = [f'<tr><th scope="row">{text(n)}</th><td></td><td class="number">left out</td></tr>' for n in gone(found)]
    rows = whole + rows
    head = [column("Layer"), column("Channels in, out, before", number=True), column("now", number=True)]
    inside = table(head, rows)
    return f"<details><summary>Which layers went: {plural(len(rows), 'layer')}</summary>{inside}</details>"


def gone(found: Mapping[str, Any]) -> list[str]:
    """List the layers that were removed whole."""
    return [name for name, numbers in found["widths"].items() if not numbers]


def shape(numbers: Sequence[int]) -> str:
    """Format the input and output channels of a layer."""
    return " → ".join(str(n) for n in numbers[:2])
