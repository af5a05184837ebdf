"""What every test may ask for, and what the suite cost in CPU-seconds."""

import gc
import os
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"
BUDGET = 8.0
"""CPU-minutes, user and system over all processes, that the quick suite may take."""
SHOWN = 15
COST = pytest.StashKey[dict[str, float]]()
"""CPU-seconds of each test in this process, and of whole processes under ``PROCESSES``."""
PROCESSES = ""


@pytest.fixture
def real_data():
    """Give the path of a real data set, or skip with a clear word: users do not have it."""

    def path(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"the real data set {name!r} is not on this machine")
        return DATA / name

    return path


def cpu_seconds():
    """CPU-seconds, user and system, of this process and of the children that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def pytest_configure(config):
    config.stash[COST] = {PROCESSES: 0.0}


def pytest_collection_finish():
    """Let the garbage collector pass over what was imported: it would be walked through again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Count what a test costs, with the fixtures that it is the first to ask for."""
    began = cpu_seconds()
    result = yield
    item.config.stash[COST][item.nodeid] = cpu_seconds() - began
    return result


def pytest_sessionfinish(session):
    """A worker of pytest-xdist hands its figures to the process that started it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["cpu"] = session.config.stash[COST] | {PROCESSES: cpu_seconds()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Take the figures of a worker that is done."""
    found = getattr(node, "workeroutput", {}).get("cpu", {})
    cost = node.config.stash[COST]
    cost |= found | {PROCESSES: cost[PROCESSES] + found.get(PROCESSES, 0.0)}


def pytest_terminal_summary(terminalreporter, config):
    """Name the dearest tests, and what the run cost beside the budget."""
    cost = config.stash[COST]
    workers = cost.pop(PROCESSES)
    own = os.times()
    minutes = (workers + own.user + own.system if workers else cpu_seconds()) / 60
    dearest = sorted(((s, name) for name, s in cost.items() if s >= 1), reverse=True)[:SHOWN]
    if dearest:
        terminalreporter.section("the dearest tests in CPU-seconds", sep="=")
    for seconds, name in dearest:
        terminalreporter.line(f"{seconds:7.1f}  {name}")
    terminalreporter.line(f"{minutes:.2f} CPU-minutes{beside_budget(config, minutes)}")


def beside_budget(config, minutes):
    """Say how a run of the quick suite stands beside its budget; nothing of a run of other tests."""
    if "not slow" not in config.option.markexpr or getattr(config.option, "cov_source", None):
        return ""
    over = ": OVER THE BUDGET, see CONTRIBUTING.md" if minutes > BUDGET else ""
    return f" of the {BUDGET:g} that the quick suite may take{over}"
