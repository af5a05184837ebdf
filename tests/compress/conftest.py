"""What tests of whole searches share."""

import pytest

from medgrad.compress.structure.graph import graph_of


@pytest.fixture(scope="module")
def brief_searches():
    """Time each network a few times, look at few batches, and trace networks that are built alike once."""
    graphs = {}

    def traced_once(network, example):
        key = str(network), example.shape
        if key not in graphs:
            graphs[key] = graph_of(network, example)
        return graphs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medgrad.compress.search.fold.graph_of", traced_once)
        patch.setattr("medgrad.compress.search.fold.ROUNDS", 3)
        patch.setattr("medgrad.compress.search.shrinking.SHOWN", 6)
        patch.setattr("medgrad.compress.search.shrinking.ROUNDS", 1)
        yield
