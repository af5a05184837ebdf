"""Samplers, one a file: which cases are in the next batch, ``THIS(cases, **settings) -> Sampler``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import registry
from ._sampler import CaseDraw, Sampler, SamplerCase, sampler_cases

__all__ = ["CaseDraw", "Sampler", "SamplerCase", "build_sampler", "sampler_cases"]


def build_sampler(table: Mapping[str, Any], cases: Sequence[SamplerCase]) -> Sampler:
    """Make the sampler that a recipe names, of the training cases."""
    settings = {k: v for k, v in table.items() if k != "name"}
    made: Sampler = registry.find("descent.samplers", table["name"])(cases, **settings)
    return made
