"""Graph classification: what a graph is of, such as a patch of cells, from its nodes and edges."""

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


class GraphNetwork(nn.Module):
    """Two rounds of messages along the edges, the mean of the nodes, and a perceptron."""

    inputs = ("nodes", "edges", "is_edge")

    def __init__(self, features: int, outputs: int, *, width: int = 16) -> None:
        super().__init__()
        self.own = nn.ModuleList([nn.Linear(features, width), nn.Linear(width, width)])
        self.heard = nn.ModuleList([nn.Linear(features, width), nn.Linear(width, width)])
        self.head = nn.Sequential(
            nn.Linear(width, 8 * width), nn.ReLU(), nn.Linear(8 * width, 8 * width), nn.ReLU(),
            nn.Linear(8 * width, outputs),
        )  # fmt: skip

    def forward(self, nodes: Tensor, edges: Tensor, is_edge: Tensor) -> Tensor:
        for own, heard in zip(self.own, self.heard, strict=True):
            sent = heard(nodes)
            start, end = (edges[..., i, None].expand(-1, -1, sent.shape[-1]) for i in (0, 1))
            told = torch.zeros_like(sent).scatter_add(1, end, sent.gather(1, start) * is_edge[..., None].to(sent.dtype))
            nodes = (own(nodes) + told).relu()
        return self.head(nodes.mean(1))


@dataclass(frozen=True)
class CellGraph(Classification):
    """A case has the arrays ``nodes`` (nodes, features) and ``edges`` (edges, 2), at most so many of each."""

    nodes: int = 8
    edges: int = 16
    features: int = 3

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        kind = seed % len(self.labels)
        values = rng.normal(0, 1, (self.nodes, self.features)).astype(np.float32)
        marked = rng.permutation(self.nodes)
        values[:, 0] = -1.0
        values[marked[: self.nodes // 2], 0] = 1.0
        sides = marked.reshape(2, -1)
        pairs = [(a, b) for a in sides[0] for b in sides[1 if kind else 0] if a != b]
        edges = np.array(pairs)[rng.permutation(len(pairs))[: 10 + seed % 3]]
        truth = Scores(np.eye(len(self.labels))[kind], self.labels, self.exclusive)
        return Case(f"example-{seed}", {}, truth, f"patient-{seed}", arrays={"nodes": values, "edges": edges})

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        del budget, has_gpu
        training = {"batch": 8, "foreground_share": 0.0, "ema": 0.9}
        return {
            "task": self.settings_from(facts, dims=self.dims), "model": {"name": model or self.kind},
            "optimiser": {"name": "adamw", "rate": 1e-2}, "training": training,
        }  # fmt: skip

    def encode(self, case: Case) -> Sample:
        edges, count = torch.zeros(self.edges, 2, dtype=torch.int64), min(self.edges, len(case.arrays["edges"]))
        edges[:count] = torch.from_numpy(case.arrays["edges"][:count].astype(np.int64))
        nodes = torch.from_numpy(case.arrays["nodes"].astype(np.float32))
        is_edge = (torch.arange(self.edges) < count).float()
        known = isinstance(case.truth, Scores)
        target = {"class": torch.tensor(case.truth.values.argmax())} if known else {}  # type: ignore[union-attr]
        return Sample({"nodes": nodes, "edges": edges, "is_edge": is_edge}, target, case.grid)

    def network(self, inputs: int, *args: Any, width: int = 16, **settings: Any) -> nn.Module:
        del inputs, args, settings
        return GraphNetwork(self.features, len(self.labels), width=width)


THIS = CellGraph
