"""Trainings that know nothing of each other give the same on a cluster as one after another."""

import pytest
from command_line import CLASSES, done, make_pictures

from medgrad.engine.race.parallel_map import parallel_map

JOBS = [(number,) for number in range(7)]


def test_the_order_is_that_of_the_jobs():
    assert list(parallel_map(lambda shared, n: shared["scale"] * n, {"scale": 3}, JOBS)) == [0, 3, 6, 9, 12, 15, 18]


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray = pytest.importorskip("ray")
    yield ray
    ray.shutdown()


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_in_the_same_order(cluster):
    work = lambda shared, n: shared["scale"] * n  # noqa: E731  (travels by value)
    assert list(parallel_map(work, {"scale": 3}, JOBS, executor="ray")) == list(parallel_map(work, {"scale": 3}, JOBS))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_a_race_is_run_on_a_cluster(cluster, tmp_path):
    data = make_pictures(tmp_path / "data")
    (tmp_path / "changes.toml").write_text(CLASSES)
    words = ("race", data, "-o", tmp_path / "out", "--optimisers", "adamw,muon", "--minutes", 0.01, "--seeds", 2)
    found = done(*words, "--recipe", tmp_path / "changes.toml", "--on-ray")
    assert {row["entrant"] for row in found["table"]} == {"adamw", "muon"}
    assert all(len(row["by_seed"]) == 2 and not row["failed"] for row in found["table"])
    assert (tmp_path / "out" / "report.html").exists()
