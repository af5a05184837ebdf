"""What is made beforehand is the same, in the same order, and an error is not lost."""

import pytest

from medgrad.engine.loading.prefetch import prefetch


@pytest.mark.parametrize("count", [0, 1, 3, 100])
def test_gives_the_same_items_in_the_same_order(count):
    assert list(prefetch(iter(range(50)), count)) == list(range(50))


def test_an_error_in_the_thread_is_raised_where_it_is_awaited():
    def items():
        yield 1
        raise ValueError("torn")

    found = prefetch(items(), 2)
    assert next(found) == 1
    with pytest.raises(ValueError, match="torn"):
        next(found)


def test_an_endless_source_can_be_left():
    from itertools import count

    found = prefetch(count(), 3)
    assert [next(found) for _ in range(4)] == [0, 1, 2, 3]
    found.close()
