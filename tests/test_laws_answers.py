"""Laws that every kind of answer keeps."""

import json
from pathlib import Path

import numpy as np
import pytest

from medgrad import registry
from medgrad.answers import Agreement, AnswerKind, Destination, agreement, kind_named, known_kind, restore
from medgrad.data import Case, Grid, Image, Source
from medgrad.data.display import plane_at
from medgrad.errors import MedgradError
from medgrad.prepare import build_steps, prepare

KINDS = registry.names("answers")
CHAIN = [{"name": "reorient", "to": "RAS"}, {"name": "crop", "threshold": -1e9}, {"name": "normalise"}]
TURNED = ((0.0, -1.0, 0.0, 5.0), (1.0, 0.0, 0.0, -3.0), (0.0, 0.0, 2.0, 7.0), (0.0, 0.0, 0.0, 1.0))
GRIDS = {2: Grid.from_shape((14, 12)), 3: Grid((10, 12, 8), TURNED)}


@pytest.fixture(params=[(name, dims) for name in KINDS for dims in (2, 3)], ids=lambda p: f"{p[0]}-{p[1]}D")
def kind_and_grid(request):
    name, dims = request.param
    return kind_named(name), GRIDS[dims]


def image_on(grid):
    return Image(np.random.default_rng(9).normal(0, 1, grid.shape).astype(np.float32), grid)


def apart(kind, a, b):
    return kind.compare([(a, b)]).off


def test_is_the_kind_of_its_values(kind_and_grid):
    kind, grid = kind_and_grid
    assert isinstance(kind, AnswerKind)
    assert known_kind(kind.example(grid)) is kind


def test_an_answer_agrees_with_itself_and_not_with_another(kind_and_grid):
    kind, grid = kind_and_grid
    one, other = kind.example(grid, seed=0), kind.example(grid, seed=1)
    found = agreement([(one, one), (other, other)])
    assert isinstance(found, Agreement)
    assert found.off == 0
    assert found.cases == 2
    assert apart(kind, one, other) > 0
    assert set(kind.tolerance) >= {"float32", "int8"}
    json.dumps(found.as_dict())


def test_the_whole_cut_out_is_the_same(kind_and_grid):
    kind, grid = kind_and_grid
    value = kind.example(grid)
    assert apart(kind, value, kind.crop(value, (0,) * grid.dims, grid.shape)) == 0


def test_what_one_window_says_of_a_whole_image_stays(kind_and_grid):
    kind, grid = kind_and_grid
    value = kind.example(grid)
    settings = {"labels": ("liver", "tumour"), "exclusive": True, "overlap": 0.5, "max_boxes": 10}
    assert apart(kind, value, kind.join([value], [grid], grid, settings)) == 0


def test_comes_back_to_the_grid_that_its_case_came_with(kind_and_grid):
    """What lies on a grid is laid on the prepared one, brought back, and lies where the case lay."""
    kind, grid = kind_and_grid
    steps = build_steps(CHAIN[0 if grid.dims == 3 else 1 :])
    ready, memos = prepare(Case("a", {"image": image_on(grid)}), steps)
    back = restore(kind.example(ready.grid), steps, memos)
    assert type(back) is kind.type
    if getattr(back, "grid", None) is not None and kind.undo.__func__ is not AnswerKind.undo:
        assert back.grid == grid


def test_its_summary_is_plain_numbers_and_words(kind_and_grid):
    kind, grid = kind_and_grid
    assert json.loads(json.dumps(kind.summary(kind.example(grid))))


def test_what_is_drawn_fits_the_plane(kind_and_grid):
    kind, grid = kind_and_grid
    value, image = kind.example(grid), image_on(grid)
    index = kind.plane_index(value, image, 2) if grid.dims == 3 else None
    assert index is None or 0 <= index < grid.shape[2]
    plane, axes = plane_at(grid)
    sizes = sorted(grid.shape[a] for a in axes)
    for name, array in kind.drawn(value, image, plane).items():
        assert name == "boxes" or sorted(array.shape[:2]) == sizes, name


def test_what_it_cannot_be_written_as_is_refused(kind_and_grid, tmp_path):
    kind, _ = kind_and_grid
    with pytest.raises(MedgradError) as told:
        kind.check_format("cuneiform", Source(tmp_path / "a.nii.gz"))
    assert "\n" not in str(told.value)


def test_is_written_beside_its_image(kind_and_grid, tmp_path):
    kind, grid = kind_and_grid
    source = Source(Path("scan.nii.gz" if grid.dims == 3 else "scan.png"))
    to = Destination(tmp_path, "said", source, image=image_on(grid))
    try:
        kind.check_format("", source)
        written = kind.write(kind.example(grid), to)
    except MedgradError:
        return  # it is never written, and says why
    assert written
    assert all(path.is_file() and path.parent == tmp_path and path.name.startswith("said") for path in written)
    assert isinstance(kind.notes(kind.example(grid), written), tuple)


def test_says_how_good_it_is_only_in_numbers(kind_and_grid):
    kind, grid = kind_and_grid
    value, truth = kind.example(grid, 0), kind.example(grid, 1)
    found = kind.quality(value, truth)
    assert found is None or np.isfinite(found)
    assert isinstance(kind.caption(value, truth), str)
    assert kind.element_bytes(3) is None or kind.element_bytes(3) > 0


def test_what_is_decoded_keeps_nothing_of_the_output(kind_and_grid):
    """The memory of a network's output is used again for the next windows."""
    kind, grid = kind_and_grid
    if len(kind.outputs) > 1:
        pytest.skip("it is decoded from several arrays")
    settings = {"labels": ("liver", "tumour", "cyst"), "exclusive": True, "mean": 40.0, "deviation": 100.0}
    shape = {"probabilities": (3,), "displacement": (grid.dims, *grid.shape), "value": (1,)}
    output = np.random.default_rng(0).uniform(0, 1, shape.get(kind.outputs[0], (4, *grid.shape))).astype(np.float32)
    fresh = kind.decode([output.copy()], grid, settings)
    decoded = kind.decode([output], grid, settings)
    output[...] = 0
    assert apart(kind, decoded, fresh) == 0
