"""Text classification: what a report says, from the numbers of its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Case, Scores
from ..survey.dataset_facts import DatasetFacts
from ._plans import Budget, Tables
from ._task import Sample
from .classification import Classification


class TokenNetwork(nn.Module):
    """Mean of the embeddings of all words, and a perceptron."""

    inputs = ("tokens",)

    def __init__(self, words: int, outputs: int, *, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.head = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, outputs))

    def forward(self, tokens: Tensor) -> Tensor:
        count = (tokens > 0).sum(1, keepdim=True).clamp_min(1)
        return self.head(self.embedding(tokens).sum(1) / count)


@dataclass(frozen=True)
class Tokens(Classification):
    """A case has the array ``tokens`` (words,) of numbers from 1 to ``words``; the first ``length`` are read."""

    words: int = 32
    length: int = 12

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        kind = seed % len(self.labels)
        tokens = rng.integers(1 + len(self.labels), self.words, 5 + seed % 8)
        tokens[rng.integers(len(tokens))] = 1 + kind
        truth = Scores(np.eye(len(self.labels))[kind], self.labels, self.exclusive)
        return Case(f"example-{seed}", {}, truth, f"patient-{seed}", arrays={"tokens": tokens})

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        del budget, has_gpu
        training = {"batch": 8, "foreground_share": 0.0, "ema": 0.9}
        return {
            "task": self.settings_from(facts, dims=self.dims), "model": {"name": model or self.kind},
            "optimiser": {"name": "adamw", "rate": 1e-2}, "training": training,
        }  # fmt: skip

    def encode(self, case: Case) -> Sample:
        tokens = torch.zeros(self.length, dtype=torch.int64)
        read = torch.from_numpy(case.arrays["tokens"][: self.length].astype(np.int64))
        tokens[: len(read)] = read
        known = isinstance(case.truth, Scores)
        target = {"class": torch.tensor(case.truth.values.argmax())} if known else {}  # type: ignore[union-attr]
        return Sample({"tokens": tokens}, target, case.grid)

    def network(self, inputs: int, *args: Any, width: int = 16, **settings: Any) -> nn.Module:
        del inputs, args, settings
        return TokenNetwork(self.words, len(self.labels), width=width)


THIS = Tokens
