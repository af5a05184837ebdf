"""What stitching lends out is taken back: slabs share one memory, and no answer may hang on to it."""

import pytest
import torch

from medgrad import registry
from medgrad.data import Deformation, Grid
from medgrad.engine.compute.torch_ops import TORCH
from medgrad.inference.sliding_window import blend_slabs, shift_planes

DENSE = [n for n in registry.names("tasks") if registry.find("tasks", n)().outputs.shape == "dense"]


def test_slabs_are_made_in_the_memory_of_one_row_of_windows():
    lent = [
        (slab.untyped_storage().data_ptr(), slab.untyped_storage().nbytes())
        for _, slab in blend_slabs(lambda _: torch.ones(3, 8, 8, 8), (64, 20, 20), (8, 8, 8), ops=TORCH)
    ]
    assert len(lent) == 15
    assert set(lent) == {(lent[0][0], 3 * 8 * 20 * 20 * 4)}


def test_windows_that_agree_are_blended_to_what_they_say():
    for _, slab in blend_slabs(
        lambda _: torch.full((2, 8, 6, 6), 5.0), (37, 20, 11), (8, 6, 6), overlap=0.6, ops=TORCH
    ):
        torch.testing.assert_close(slab, torch.full_like(slab, 5.0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("by", [1, 2, 5, 6])
def test_sliding_moves_planes_and_empties_the_last(by):
    planes = torch.arange(6.0).view(1, 6, 1, 1).repeat(2, 1, 3, 3)
    shift_planes(planes, by)
    assert planes[1, :, 2, 2].tolist() == [*range(by, 6), *[0] * by][:6]


@pytest.mark.parametrize("name", DENSE)
def test_an_answer_keeps_nothing_of_the_output_that_it_was_read_from(name):
    task = registry.find("tasks", name)()
    grid = Grid.from_shape((6,) * task.dims)
    output = torch.rand(task.outputs.channels, *grid.shape)
    answer = task.decode(output, grid)
    numbers = answer.field if isinstance(answer, Deformation) else answer.array
    before = numbers.copy()
    output.fill_(7.0)
    assert (numbers == before).all()
