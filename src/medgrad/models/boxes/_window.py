"""ROI Align by windows of the feature table, with a backward pass of limited memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

MAX_NUMBERS = 2**19  # so many numbers are held at once: what fits a processor's cache is quick


@dataclass(frozen=True)
class AxisWeights:
    """The elements along one axis, of ``length``, that make each bin, and their weights: both (k, bins, parts).

    The elements of a region lie within ``span`` from the ``first`` on, (k,).
    """

    length: int
    place: Tensor
    weight: Tensor

    @cached_property
    def first(self) -> Tensor:
        return self.place.flatten(1).amin(1)

    @cached_property
    def span(self) -> int:
        return int((self.place.flatten(1).amax(1) - self.first).max()) + 1


def sum_in_windows(table: Tensor, axes: Sequence[AxisWeights], batch: Tensor) -> Tensor:
    """Take the window of ``table`` (elements, c) that holds each region, and weight it: (k, bins of all axes, c)."""
    rows, weights = batch[:, None], []  # (k, elements of the window)
    for axis in axes:
        steps = torch.arange(axis.span, device=batch.device)
        at = (axis.first[:, None] + steps).clamp_max(axis.length - 1)
        rows = (rows[:, :, None] * axis.length + at[:, None]).flatten(1)
        whole = axis.weight.new_zeros(*axis.weight.shape[:2], axis.span)
        whole.scatter_add_(2, axis.place - axis.first[:, None, None], axis.weight)
        weights.append(whole.to(table.dtype))
    found: Tensor = WindowedSum.apply(table, rows, *weights)
    return found


class WindowedSum(torch.autograd.Function):
    """The weighted sum over windows with its gradient, for some regions at a time to limit memory."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, *weights)
        ctx.shape = table.shape
        with torch.autocast(table.device.type, enabled=False):
            found = [
                _apply_weights(table.index_select(0, r.flatten()).unflatten(0, r.shape), w)
                for r, w in _split_regions(rows, weights, table.shape[1])
            ]
            return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *pulls: Tensor) -> tuple[Tensor | None, ...]:
        (pull,), (rows, *weights) = pulls, ctx.saved_tensors
        found = pull.new_zeros(ctx.shape, dtype=torch.promote_types(pull.dtype, torch.float32))
        begin = 0
        with torch.autocast(pull.device.type, enabled=False):
            for r, w in _split_regions(rows, weights, ctx.shape[1]):
                spread = _apply_weights(pull[begin : begin + len(r)], [one.transpose(1, 2) for one in w])
                found.index_add_(0, r.flatten(), spread.flatten(0, 1).to(found.dtype))
                begin += len(r)
        return found.to(pull.dtype), None, *[None for _ in weights]


def _apply_weights(values: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Weight values (k, elements in, c) by (k, out, in) along each axis in turn, to (k, elements out, c)."""
    k, _, c = values.shape
    done, left = 1, math.prod(w.shape[2] for w in weights)
    for w in weights:
        left //= w.shape[2]
        values = torch.matmul(w[:, None], values.reshape(k, done, w.shape[2], left * c))
        done *= w.shape[1]
    return values.reshape(k, done, c)


def _split_regions(rows: Tensor, weights: Sequence[Tensor], channels: int) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield a few regions at a time."""
    step = max(1, MAX_NUMBERS // (rows.shape[1] * channels))
    for begin in range(0, len(rows), step):
        yield rows[begin : begin + step], [w[begin : begin + step] for w in weights]
