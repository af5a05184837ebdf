"""Parameter groups with their own learning rate: by name, or layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from ..errors import SettingError, suggest_name

RULE_SETTINGS = {"match": str, "rate": float, "decay": float, "layerwise": float}


def split_groups(
    optimiser: torch.optim.Optimizer,
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    rules: Sequence[Mapping[str, Any]],
) -> None:
    """Part the groups of an optimiser, in place, so that each weight learns by the first rule that matches its name.

    A rule is ``{"match": "head*", "rate": 10.0, "decay": 0.0, "layerwise": 0.9}``: ``rate`` is a factor (0 freezes),
    ``decay`` takes the place of the optimiser's own (a mask where it is 0), and ``layerwise`` is the factor of each
    layer to the one behind it, so that 0.9 lets the layers near the image change less than those near the answer.
    """
    if not rules:
        return
    for rule in rules:
        check_rule(rule)
    names = {id(p): name for name, p in named_parameters}
    layers = number_layers(names.values())
    used: set[int] = set()
    parted: list[dict[str, Any]] = []
    for group in optimiser.param_groups:
        kept: dict[tuple[float, float | None], list[nn.Parameter]] = {}
        for p in group["params"]:
            number, rate, decay = match_rule(names[id(p)], layers, rules)
            used.add(number)
            kept.setdefault((rate, decay), []).append(p)
        for (rate, decay), params in kept.items():
            own = {} if decay is None or "weight_decay" not in group else {"weight_decay": decay}
            parted.append({**group, **own, "params": params, "lr": group["lr"] * rate})
    idle = [r["match"] for i, r in enumerate(rules) if i not in used]
    if idle:
        raise SettingError(
            f"{idle[0]!r} in [[rates]] matches no weight that is left.{suggest_name(idle[0], list(names.values()))}"
        )
    if len(parted) > 1 and isinstance(optimiser, torch.optim.LBFGS):
        raise SettingError("lbfgs has one rate for all weights, so it takes no [[rates]].")
    optimiser.param_groups[:] = parted


def check_rule(rule: Mapping[str, Any]) -> None:
    """Raise unless a rule has a match, and settings that are known and sound."""
    for key, value in rule.items():
        if key not in RULE_SETTINGS:
            raise SettingError(
                f"{key!r} is not a setting of [[rates]].{suggest_name(key, list(RULE_SETTINGS))} Known: "
                f"{', '.join(RULE_SETTINGS)}."
            )
        if RULE_SETTINGS[key] is float and (isinstance(value, (bool, str)) or not float(value) >= 0):
            raise SettingError(f"{key!r} in [[rates]] is a number of at least 0, but it is {value!r}.")
    if not isinstance(rule.get("match"), str):
        raise SettingError('A table of [[rates]] says which weights it is for: match = "head*".')


def match_rule(
    name: str, layers: Mapping[str, int], rules: Sequence[Mapping[str, Any]]
) -> tuple[int, float, float | None]:
    """Give the number of the first rule that matches a name (-1: none), its rate factor, and its decay."""
    for number, rule in enumerate(rules):
        if fnmatchcase(name, rule["match"]):
            behind = len(set(layers.values())) - 1 - layers[name]
            return number, float(rule.get("rate", 1.0)) * float(rule.get("layerwise", 1.0)) ** behind, rule.get("decay")
    return -1, 1.0, None


def number_layers(names: Iterable[str]) -> dict[str, int]:
    """Number the layers in the order in which a network names them; a weight and its bias are of one layer.

    >>> number_layers(["a.weight", "a.bias", "b.weight"])
    {'a.weight': 0, 'a.bias': 0, 'b.weight': 1}
    """
    number: dict[str, int] = {}
    return {name: number.setdefault(name.rpartition(".")[0], len(number)) for name in names}
