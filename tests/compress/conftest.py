"""What tests of whole searches share."""

import pytest

from medgrad.compress.structure.graph import build_graph


@pytest.fixture(scope="module")
def brief_searches():
    """Time each network a few times, look at few batches, and trace networks that are built alike once."""
    graphs = {}

    def traced_once(network, example):
        key = str(network), tuple(x.shape for x in example)
        if key not in graphs:
            graphs[key] = build_graph(network, example)
        return graphs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medgrad.compress.search.fold.build_graph", traced_once)
        patch.setattr("medgrad.compress.search.fold.TIMING_ROUNDS", 3)
        patch.setattr("medgrad.compress.search.shrinking.CRITERION_BATCHES", 6)
        patch.setattr("medgrad.compress.search.shrinking.TIMING_ROUNDS", 1)
        yield
