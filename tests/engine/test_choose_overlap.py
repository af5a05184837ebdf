"""The overlap of windows is as small as costs nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import FLAT, done, make_flat
from torch import nn

from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.engine.compute.device import Compute
from medgrad.engine.evaluation import tune_windows as overlap
from medgrad.engine.evaluation.tune_windows import choose_windows
from medgrad.engine.loading.cache import PreparedCase
from medgrad.engine.runs.recipe import recipe_from_tables
from medgrad.engine.runs.run import TrainedRun, open_run

PATCH = 16


class Network(nn.Module):
    """Says the label of bright elements, but none within so many elements of a window's edge, if that is told."""

    def __init__(self, blind):
        super().__init__()
        self.blind, self.seen = blind, 0

    def forward(self, inputs):
        self.seen += 1
        said = inputs - 0.5
        if self.blind:
            inner = torch.full_like(said, -0.01)
            box = (slice(None), slice(None), *[slice(self.blind, -self.blind)] * 2)
            inner[box] = said[box]
            said = inner
        return torch.cat([-said, said], dim=1)


def trained(blind, kind="segmentation"):
    task = {"kind": kind, "dims": 2, "labels": ["thing"]}
    recipe = recipe_from_tables({"task": task, "training": {"patch": [PATCH, PATCH]}})
    return TrainedRun(recipe.build_task(), (Network(blind),), (), recipe, Compute("cpu", torch.float32))


def case(seed, size=60):
    grid = Grid.from_shape((size, size))
    truth = (np.random.default_rng(seed).random(grid.shape) > 0.4).astype(np.uint8)
    ready = Case(str(seed), {"image": Image(truth.astype(np.float32), grid)}, LabelMap(truth, grid, {1: "thing"}))
    return PreparedCase(ready, (), ready)


@pytest.mark.parametrize(("blind", "wanted"), [(0, 0.0), (1, 0.25), (3, 0.5)])
def test_the_smallest_overlap_that_is_not_worse(blind, wanted):
    found = choose_windows(trained(blind), [case(n) for n in range(4)], 60)
    assert found.overlap == wanted
    assert found.n_cases == 4
    assert found.metric_by_overlap[0.5] - found.metric_by_overlap[wanted] <= 0.001
    assert all(found.metric_by_overlap[0.5] - aim > 0.001 for o, aim in found.metric_by_overlap.items() if o < wanted)


def test_only_cases_of_several_windows_count():
    assert choose_windows(trained(1), [case(0, PATCH)], 60) is None
    assert choose_windows(trained(1), [case(0, PATCH), *(case(n) for n in range(5))], 60).n_cases == 5


def test_few_cases_decide_nothing():
    assert choose_windows(trained(1), [case(n) for n in range(3)], 60) is None


def test_only_labels_are_put_together():
    assert choose_windows(trained(1, "classification"), [case(0)], 60) is None


def test_without_time_for_one_case_nothing_is_chosen(monkeypatch):
    ticks = iter(range(0, 100_000, 10))
    monkeypatch.setattr(overlap.time, "perf_counter", lambda: next(ticks))
    run = trained(1)
    assert choose_windows(run, [case(0), case(1)], 25) is None
    assert run.networks[0].seen == 16  # the first overlap of the first case


def test_what_fits_into_the_time_is_measured(monkeypatch):
    ticks = iter(range(0, 100_000, 10))
    monkeypatch.setattr(overlap.time, "perf_counter", lambda: next(ticks))
    assert choose_windows(trained(1), [case(n) for n in range(50)], 400).n_cases in range(4, 10)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_flat(tmp_path_factory.mktemp("overlap") / "data", size=40, cases=20)


@pytest.mark.parametrize("measured", [True, False])
def test_a_run_takes_what_was_measured_and_says_so(measured, pictures, tmp_path):
    words = f"\n[inference]\noverlap = 0.4\ntune = {str(measured).lower()}\n"
    recipe = FLAT.replace("[24, 24]", "[16, 16]").replace("validations = 6", "validations = 1") + words
    (tmp_path / "recipe.toml").write_text(recipe)
    done("fit", pictures, "-o", tmp_path / "run", "--steps", 4, "--recipe", tmp_path / "recipe.toml")
    told = json.loads((tmp_path / "run" / "run.json").read_text()).get("overlap")
    answering = open_run(tmp_path / "run").recipe.inference
    assert bool(told) == measured
    assert not answering.tune
    if measured:
        assert list(told["aims"]) == ["0.0", "0.25", "0.4"]
        assert answering.overlap == told["overlap"]
        assert told["aims"][str(answering.overlap)] >= told["aims"]["0.4"] - overlap.MAX_METRIC_LOSS
    else:
        assert answering.overlap == 0.4


class Eyes(nn.Module):
    """Says the label of bright elements; if it is short-sighted, only where a neighbour is as bright."""

    def __init__(self, short):
        super().__init__()
        self.short = short

    def forward(self, inputs):
        sure = nn.functional.avg_pool2d(inputs, 3, 1, 1) if self.short else inputs
        return torch.cat([0.8 - sure, sure - 0.8], dim=1)


def spots(seed, size=100, width=3):
    """Make a case of a few bright spots, at random places."""
    grid, truth = Grid.from_shape((size, size)), np.zeros((size, size), np.uint8)
    for row, column in np.random.default_rng(seed).integers(4, size - 8, (6, 2)):
        truth[row : row + width, column : column + width] = 1
    ready = Case(str(seed), {"image": Image(truth.astype(np.float32), grid)}, LabelMap(truth, grid, {1: "thing"}))
    return PreparedCase(ready, (), ready)


@pytest.mark.parametrize(("short", "wanted"), [(False, 2), (True, 1)])
def test_the_first_look_is_coarse_only_where_that_finds_everything(short, wanted):
    run = trained(0)
    run = replace(run, networks=(Eyes(short),))
    found = choose_windows(run, [spots(n) for n in range(5)], 60)
    assert found.first_pass_stride == wanted
    assert set(found.metric_by_stride) == {1, 2}
    assert (found.metric_by_stride[1] - found.metric_by_stride[2] > 0.001) == short


def test_the_first_look_stays_as_it_is_where_no_case_is_large():
    found = choose_windows(trained(0), [case(n, 30) for n in range(5)], 60)
    assert found.first_pass_stride == 1
    assert found.as_dict().keys() == {"overlap", "aims", "cases", "seconds"}
