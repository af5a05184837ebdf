"""The type of a gradient rule, of one that holds state, and of a chain of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import nn

from ...errors import FormatError
from ...tasks import Batch, Task

Gradients = Callable[[nn.Module, Task, Batch], dict[str, float]]
"""Fill ``p.grad`` of every parameter and return what there is to tell.

A plain name is a term of the loss; a name with a slash (``gradient/norm``) is an observation and no part of it.

The loop seeds torch's generators by seed and step before each step, so what a rule draws from them (noise, a time) is
a function of the step, and a resumed run draws the same. What must not follow from the recipe is drawn from a
``SecretGenerator``. An optimiser that looks twice (SAM, L-BFGS) calls a rule several times a step.

A rule with an objective of its own, such as two networks against each other, fills the gradients of all parts of the
module. Its maker has a method ``example()``, which gives a network with those parts, a task and a batch. A maker whose
``needs_clean_images`` is False learns from images that are noisy as they are: nothing degrades them further.
"""

FullSet = Callable[[], Iterator[Batch]]
"""Yield the whole training set once, in parts, the same each time and without chance."""


@runtime_checkable
class Stateful(Protocol):
    """A gradient rule that holds state: each checkpoint keeps it, and a resumed run goes on with it.

    The state is a dictionary of tensors, plain values, and lists and dictionaries of them. Tensors come back on the
    CPU.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Load a state that ``state_dict`` returned."""


class Chain:
    """Gradient rules that wrap one another, the innermost first. The state of each is kept by its place and name."""

    def __init__(self, links: Sequence[tuple[str, Gradients]]) -> None:
        self.links = tuple(links)

    def __call__(self, model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        return self.links[-1][1](model, task, batch)

    @property
    def stateful(self) -> dict[str, Stateful]:
        """The rules that hold state, by place and name."""
        places = ((f"{number}.{name}", rule) for number, (name, rule) in enumerate(self.links))
        return {place: rule for place, rule in places if isinstance(rule, Stateful)}  # type: ignore[misc]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every rule that holds one."""
        return {place: rule.state_dict() for place, rule in self.stateful.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the state of every rule that holds one, or raise where it is that of other rules."""
        rules = self.stateful
        if state.keys() != rules.keys():
            raise FormatError(
                f"The checkpoint holds the state of {', '.join(state) or 'no gradient method'}, but [[gradients]] "
                f"needs that of {', '.join(rules) or 'none'}. Resume the run with its own recipe."
            )
        for place, rule in rules.items():
            rule.load_state_dict(state[place])


def total_loss(terms: Mapping[str, Any]) -> float:
    """Sum the terms of the loss and leave the observations out.

    >>> total_loss({"dice": 0.5, "entropy": 0.25, "gradient/norm": 9.0})
    0.75
    """
    return float(sum(v for k, v in terms.items() if "/" not in k))
