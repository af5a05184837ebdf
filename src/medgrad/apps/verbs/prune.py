"""``medgrad prune``: prune a run's network to a smaller one that is no worse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...compress.search.target import Target
from ...engine.progress import Progress
from ._arguments import Device, Seed
from ._checks import (
    check_budget,
    check_cohort_folder,
    check_device,
    check_new_folder,
    check_number,
    check_output_unused,
    check_part,
    check_run,
)


def prune(
    run: Annotated[Path, typer.Argument(help="The run that is to become smaller; it stays as it is.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the new run.")],
    target: Annotated[
        str, typer.Option(help="What may be left, as a share: of flops, parameters, size or latency; or of several.")
    ] = "flops=0.1",
    margin: Annotated[float, typer.Option(help="How much of the score may be lost.")] = 0.01,
    minutes: Annotated[
        float, typer.Option(help="How long the search takes. The narrow network beside it takes as long again.")
    ] = 20.0,
    steps: Annotated[int, typer.Option(min=0, help="How many steps the search takes in all, instead of minutes.")] = 0,
    criterion: Annotated[str, typer.Option(help="What tells which channels matter.")] = "taylor",
    min_channels: Annotated[int, typer.Option(min=1, help="How many channels a layer keeps at least.")] = 4,
    channel_multiple: Annotated[
        int | None, typer.Option(min=1, help="Keep multiples of so many channels. Chosen from the network by default.")
    ] = None,
    min_share: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="The share of its channels that a layer keeps at least. Chosen by default."
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(min=0, help="How many whole layers go before any channel. As many as time asks for by default."),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Train a narrow network from nothing beside it, for as long as the search took.")
    ] = True,
    all_baselines: Annotated[
        bool,
        typer.Option("--all-baselines", help="Also go the same way by magnitude and by chance."),
    ] = False,
    force_target: Annotated[
        bool, typer.Option("--force-target", help="Go to the target, however much is lost.")
    ] = False,
    distill: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="The weight of what the parent says in the loss. Tried where it may pay by default."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where the cases lie that the run learned from, if not where they lay then.")
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Prune the least important channels, and retrain what is left until it is as good.

    The smallest network that is not inferior to its parent within the margin becomes a run of its own. Half of the
    validation patients choose it; the figures are those of the others.
    """
    check_budget(minutes, steps, seed)
    check_part("--criterion", criterion, "compress.criteria")
    check_number("--margin", margin, minimum=0)
    check_number("--min-channels", min_channels, minimum=1)
    check_number("--channel-multiple", channel_multiple, minimum=1)
    check_number("--layers", layers, minimum=0)
    check_number("--min-share", min_share, minimum=0, maximum=1)
    check_number("--distill", distill, minimum=0, maximum=1)
    check_device(device)
    Target.parse(target)
    check_run(run)
    check_new_folder(out, run)
    check_output_unused(out, "rungs", description="pruning that was cut off")
    if data is not None:
        check_cohort_folder(data)

    widths: dict[str, Any] = {"channel_multiple": channel_multiple, "min_share": min_share, "layers": layers}
    from ...compress.prune import prune as search
    from ...compress.search.selection import ChannelSelection
    from ...report import write

    told = search(
        run,
        out,
        target=target,
        margin=margin,
        minutes=minutes,
        steps=steps,
        selection=ChannelSelection(
            criterion,
            relative=criterion == "magnitude",
            min_per_layer=min_channels,
            automatic=tuple(name for name, value in widths.items() if value is None),
            **{name: value for name, value in widths.items() if value is not None},
        ),
        baselines=baselines,
        all_baselines=all_baselines,
        force_target=force_target,
        distill_weight=distill,
        data=data,
        seed=seed,
        device=device,
        progress=progress,
    )
    report, best = write(out), told["best"]
    left = {k: best[k] / told["whole"][k] for k in ("flops", "parameters", "bytes", "milliseconds")}
    quick = told["whole"]["milliseconds"] / best["milliseconds"]
    text = (
        f"{left['flops']:.1%} of the work, {left['parameters']:.1%} of the numbers, {quick:.1f} times as fast. "
        f"{best['verdict']['says']}; {len(told['patients']['chose'])} others chose it."
    )
    if told["patients_needed"]:
        text += f" To show that of an equal network takes about {told['patients_needed']:,} patients."
    if not told["reached"]:
        text += f" {target} was not reached."
    if told["missed"]:
        text += f" {told['missed']['says']}"
    return {"text": text, "run": str(out), "left": left, "reached": told["reached"], "verdict": best["verdict"],
            "missed": told["missed"], "controls": told["controls"], "report": str(report)}  # fmt: skip


THIS = prune
