"""What every test may ask for."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def real_data():
    """Give the path of a real data set, or skip with a clear word: users do not have it."""

    def path(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"the real data set {name!r} is not on this machine")
        return DATA / name

    return path
