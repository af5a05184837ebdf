"""Training diagnostics: vanishing and exploding gradients, dead and saturated units, loss spikes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from statistics import median
from typing import Any, Literal

from .stopping import Line, loss_in

Kind = Literal["vanishing", "exploding", "dead", "saturated", "spike"]

VANISHED = 1e-6
"""A layer's gradient, against that of the steepest layer, below which it learns nothing."""
EXPLODED = 3.0
"""The update (see ``Watch.after``) beyond which a step changes a layer out of recognition."""
RISEN = 10.0
"""The rise of the loss, against its median at first, that is an explosion."""
MOST_DEAD, MOST_SATURATED = 0.9, 0.9
LASTS = 4
"""How many looks in a row a fault must last, so that a start from zero is not taken for one."""
SPIKE = 8.0
"""How many times the usual scatter a loss must lie above the median of the last steps."""
RECENT = 50
MATTERS = 0.1
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
        told = asdict(self)
        return {"step": told.pop("step"), "finding": told}


@dataclass
class Health:
    """Diagnose a run from its log lines, in order; each problem is reported once."""

    known: set[tuple[str, str]] = field(default_factory=set)
    lasting: dict[str, int] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    steepest: str = ""
    quiet: int = 0

    def hear(self, line: Line) -> list[Finding]:
        """Observe a log line, and return new findings."""
        if "finding" in line:
            self.known |= {(line["finding"]["kind"], name) for name in (line["finding"]["layer"], "")}
            self.quiet = line["step"] + RECENT if line["finding"]["kind"] == "spike" else self.quiet
            return []
        if "loss" not in line:
            return []
        found = [*self.of_layers(line), *self.of_loss(line)]
        fresh = [f for f in found if (f.kind, f.layer) not in self.known]
        self.known |= {(f.kind, f.layer) for f in fresh}
        return fresh

    def of_layers(self, line: Line) -> list[Finding]:
        """Check the layer statistics of a line."""
        seen: Mapping[str, Any] = line.get("health", {})
        step, found = line["step"], []
        layers = {n: v for n, v in seen.get("layers", {}).items() if all(isinstance(x, float) for x in v.values())}
        if layers:
            found += self.vanishing(step, layers) + self.exploding(step, layers)
        for kind, most, words in (
            ("dead", MOST_DEAD, "of its units give nothing, whatever they are shown, so they cannot learn any more"),
            ("saturated", MOST_SATURATED, "of its outputs lie at their bounds, where the slope is next to nothing"),
        ):
            for layer, share in seen.get(kind, {}).items():
                if self.lasts(f"{kind} {layer}", share >= most):
                    found.append(Finding(step, kind, layer, f"In {layer!r} {share:.0%} {words}."))  # type: ignore[arg-type]
        return found

    def vanishing(self, step: int, layers: Mapping[str, Mapping[str, float]]) -> list[Finding]:
        """Find a gradient that vanishes before it reaches the first layer.

        A branch without any objects, such as the coarse level of a detector where all objects are small, is no
        problem.
        """
        slopes = {name: v["gradient"] for name, v in layers.items()}
        self.steepest = max(slopes, key=lambda n: slopes[n])
        steep = slopes[self.steepest]
        faded = [n for n, g in slopes.items() if g < VANISHED * steep]
        if not self.lasts("vanishing", next(iter(slopes)) in faded) or ("vanishing", "") in self.known:
            return []
        self.known.add(("vanishing", ""))
        worst = min(faded, key=lambda n: slopes[n])
        share = f"{slopes[worst] / steep:.0e} times" if slopes[worst] else "nothing of"
        return [
            Finding(
                step, "vanishing", worst,
                f"The gradient vanishes: in {worst!r} it is {share} that in {self.steepest!r}, so {len(faded)} of "
                f"{len(slopes)} layers hardly learn; normalisation between the layers keeps it alive.",
            )
        ]  # fmt: skip

    def exploding(self, step: int, layers: Mapping[str, Mapping[str, float]]) -> list[Finding]:
        """Find updates so large that they undo what a layer has learned."""
        worst = max(layers, key=lambda n: layers[n]["update"])
        size = layers[worst]["update"]
        if not self.lasts("exploding", size > EXPLODED, looks=2):
            return []
        why = f"one step changes what {worst!r} says by up to {size:.0f} times as much as it says"
        return self.exploded(step, worst, why)

    def of_loss(self, line: Line) -> list[Finding]:
        """Check the loss of a line: not finite, risen for good, or a spike."""
        step, loss = line["step"], loss_in(line)
        layer = self.steepest or "the network"
        is_lost = loss is None or not isfinite(loss)
        if self.lasts("infinite", is_lost, looks=2):
            return self.exploded(step, layer, "the loss is no longer a finite number")
        if loss is None or is_lost:
            return []
        if len(self.first) < 5:
            self.first.append(loss)
        elif self.lasts("risen", loss > RISEN * max(1e-3, abs(median(self.first)))):
            return self.exploded(step, layer, f"the loss rose from {median(self.first):.3g} to {loss:.3g}")
        found = self.spike(step, loss)
        self.recent.append(loss)
        return found

    def spike(self, step: int, loss: float) -> list[Finding]:
        """Find a loss far above the recent ones, if it matters and no other was reported recently."""
        if len(self.recent) < RECENT or step < self.quiet:
            return []
        usual = median(self.recent)
        scatter = median(abs(v - usual) for v in self.recent)
        if loss <= max(usual + SPIKE * 1.4826 * scatter, 2 * usual, MATTERS * abs(median(self.first))):
            return []
        self.quiet = step + RECENT
        words = (
            f"The loss leapt to {loss:.3g} from about {usual:.3g}: one odd batch, or a rate on the edge of too high."
        )
        return [Finding(step, "spike", f"step {step}", words)]

    def exploded(self, step: int, layer: str, why: str) -> list[Finding]:
        """Report an explosion, once."""
        if ("exploding", "") in self.known:
            return []
        self.known.add(("exploding", ""))
        words = f"Learning explodes: {why}; a lower rate, a warm-up and clipped gradients calm it."
        return [Finding(step, "exploding", layer, words)]

    def lasts(self, what: str, holds: bool, *, looks: int = LASTS) -> bool:
        """Tell whether a condition has held for so many checks in a row."""
        self.lasting[what] = self.lasting.get(what, 0) + 1 if holds else 0
        return self.lasting[what] >= looks
