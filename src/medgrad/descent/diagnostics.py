"""Training diagnostics: vanishing and exploding gradients, dead and saturated units, loss spikes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from statistics import median
from typing import Any, Literal

from .stopping import Line, step_loss

Kind = Literal["vanishing", "exploding", "dead", "saturated", "spike"]

VANISHING_RATIO = 1e-6
"""A layer's gradient, against that of the steepest layer, below which it learns nothing."""
EXPLODING_UPDATE = 3.0
"""The update (see ``Watch.after``) beyond which a step changes a layer out of recognition."""
LOSS_RISE = 10.0
"""The rise of the loss, against its median at first, that is an explosion."""
MOST_DEAD, MOST_SATURATED = 0.9, 0.9
CHECKS_IN_A_ROW = 4
"""How many looks in a row a fault must last, so that a start from zero is not taken for one."""
SPIKE_DEVIATIONS = 8.0
"""How many times the usual scatter a loss must lie above the median of the last steps."""
RECENT_STEPS = 50
MIN_SPIKE_SHARE = 0.1
"""The share of the loss at first that a leap must reach to be worth a word."""


@dataclass(frozen=True)
class Finding:
    """One problem of a training run: its first step, kind and layer, and an explanation in one sentence."""

    step: int
    kind: Kind
    layer: str
    sentence: str

    def as_line(self) -> dict[str, Any]:
        """Give the finding as a line of ``steps.jsonl``."""
        entry = asdict(self)
        return {"step": entry.pop("step"), "finding": entry}


@dataclass
class Diagnostics:
    """Diagnose a run from its log lines, in order; each problem is reported once."""

    reported: set[tuple[str, str]] = field(default_factory=set)
    streaks: dict[str, int] = field(default_factory=dict)
    first_losses: list[float] = field(default_factory=list)
    recent_losses: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    steepest_layer: str = ""
    quiet_until: int = 0

    def observe(self, line: Line) -> list[Finding]:
        """Observe a log line, and return new findings."""
        if "finding" in line:
            self.reported |= {(line["finding"]["kind"], name) for name in (line["finding"]["layer"], "")}
            self.quiet_until = line["step"] + RECENT_STEPS if line["finding"]["kind"] == "spike" else self.quiet_until
            return []
        if not line.get("loss"):
            return []
        found = [*self.check_layers(line), *self.check_loss(line)]
        fresh = [f for f in found if (f.kind, f.layer) not in self.reported]
        self.reported |= {(f.kind, f.layer) for f in fresh}
        return fresh

    def check_layers(self, line: Line) -> list[Finding]:
        """Check the layer statistics of a line."""
        seen: Mapping[str, Any] = line.get("health", {})
        step, found = line["step"], []
        layers = {n: v for n, v in seen.get("layers", {}).items() if all(isinstance(x, float) for x in v.values())}
        if layers:
            found += self.find_vanishing(step, layers) + self.find_exploding(step, layers)
        for kind, most, words in (
            ("dead", MOST_DEAD, "of its units give nothing, whatever they are shown, so they cannot learn any more"),
            ("saturated", MOST_SATURATED, "of its outputs lie at their bounds, where the slope is next to nothing"),
        ):
            for layer, share in seen.get(kind, {}).items():
                if self.has_lasted(f"{kind} {layer}", share >= most):
                    found.append(Finding(step, kind, layer, f"In {layer!r} {share:.0%} {words}."))  # type: ignore[arg-type]
        return found

    def find_vanishing(self, step: int, layers: Mapping[str, Mapping[str, float]]) -> list[Finding]:
        """Find a gradient that vanishes before it reaches the first layer.

        A branch without any objects, such as the coarse level of a detector where all objects are small, is no
        problem.
        """
        slopes = {name: v["gradient"] for name, v in layers.items()}
        self.steepest_layer = max(slopes, key=lambda n: slopes[n])
        steep = slopes[self.steepest_layer]
        faded = [n for n, g in slopes.items() if g < VANISHING_RATIO * steep]
        if not self.has_lasted("vanishing", next(iter(slopes)) in faded) or ("vanishing", "") in self.reported:
            return []
        self.reported.add(("vanishing", ""))
        worst = min(faded, key=lambda n: slopes[n])
        share = f"{slopes[worst] / steep:.0e} times" if slopes[worst] else "nothing of"
        return [
            Finding(
                step, "vanishing", worst,
                f"The gradient vanishes: in {worst!r} it is {share} that in {self.steepest_layer!r}, so "
                f"{len(faded)} of "
                f"{len(slopes)} layers hardly learn; normalisation between the layers keeps it alive.",
            )
        ]  # fmt: skip

    def find_exploding(self, step: int, layers: Mapping[str, Mapping[str, float]]) -> list[Finding]:
        """Find updates so large that they undo what a layer has learned."""
        worst = max(layers, key=lambda n: layers[n]["update"])
        size = layers[worst]["update"]
        if not self.has_lasted("exploding", size > EXPLODING_UPDATE, times=2):
            return []
        why = f"one step changes what {worst!r} says by up to {size:.0f} times as much as it says"
        return self.report_explosion(step, worst, why)

    def check_loss(self, line: Line) -> list[Finding]:
        """Check the loss of a line: not finite, risen for good, or a spike."""
        step, loss = line["step"], step_loss(line)
        layer = self.steepest_layer or "the network"
        is_lost = loss is None or not isfinite(loss)
        if self.has_lasted("infinite", is_lost, times=2):
            return self.report_explosion(step, layer, "the loss is no longer a finite number")
        if loss is None or is_lost:
            return []
        if len(self.first_losses) < 5:
            self.first_losses.append(loss)
        elif self.has_lasted("risen", loss > LOSS_RISE * max(1e-3, abs(median(self.first_losses)))):
            return self.report_explosion(
                step, layer, f"the loss rose from {median(self.first_losses):.3g} to {loss:.3g}"
            )
        found = self.find_spike(step, loss)
        self.recent_losses.append(loss)
        return found

    def find_spike(self, step: int, loss: float) -> list[Finding]:
        """Find a loss far above the recent ones, if it matters and no other was reported recently."""
        if len(self.recent_losses) < RECENT_STEPS or step < self.quiet_until:
            return []
        usual = median(self.recent_losses)
        scatter = median(abs(v - usual) for v in self.recent_losses)
        if loss <= max(
            usual + SPIKE_DEVIATIONS * 1.4826 * scatter, 2 * usual, MIN_SPIKE_SHARE * abs(median(self.first_losses))
        ):
            return []
        self.quiet_until = step + RECENT_STEPS
        words = (
            f"The loss leapt to {loss:.3g} from about {usual:.3g}: one odd batch, or a rate on the edge of too high."
        )
        return [Finding(step, "spike", f"step {step}", words)]

    def report_explosion(self, step: int, layer: str, why: str) -> list[Finding]:
        """Report an explosion, once."""
        if ("exploding", "") in self.reported:
            return []
        self.reported.add(("exploding", ""))
        words = f"Learning explodes: {why}; a lower rate, a warm-up and clipped gradients calm it."
        return [Finding(step, "exploding", layer, words)]

    def has_lasted(self, condition: str, holds: bool, *, times: int = CHECKS_IN_A_ROW) -> bool:
        """Tell whether a condition has held for so many checks in a row."""
        self.streaks[condition] = self.streaks.get(condition, 0) + 1 if holds else 0
        return self.streaks[condition] >= times
