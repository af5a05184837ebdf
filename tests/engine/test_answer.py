"""Windows are blended the same whether slab by slab or all at once, and memory grows with a slab."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from medgrad.data import Case, Grid, Image
from medgrad.engine.compute.device import Compute
from medgrad.engine.compute.torch_ops import TORCH
from medgrad.engine.evaluation.infer import predictor
from medgrad.engine.runs.recipe import Inference
from medgrad.inference.predictor import BATCH_SIZE, group_by_shape
from medgrad.inference.sliding_window import blend_slabs, gaussian_weights, window_starts
from medgrad.tasks.classification import Classification
from medgrad.tasks.segmentation import Segmentation

CPU = Compute("cpu", torch.float32)


def all_at_once(look, shape, patch, overlap):
    from itertools import product

    sums, weights = 0, torch.zeros(shape)
    for start in product(*[window_starts(s, p, overlap) for s, p in zip(shape, patch, strict=True)]):
        said = look(start)
        where = tuple(slice(a, a + p) for a, p in zip(start, patch, strict=True))
        if isinstance(sums, int):
            sums = torch.zeros(len(said), *shape)
        sums[(slice(None), *where)] += said * gaussian_weights(patch, TORCH)
        weights[where] += gaussian_weights(patch, TORCH)
    return sums / weights


@pytest.mark.parametrize(
    ("shape", "patch", "overlap"),
    [((20, 9, 11), (8, 8, 8), 0.5), ((8, 30), (8, 8), 0.25), ((33, 12), (10, 12), 0.7), ((7, 7), (7, 7), 0.5)],
)
def test_slabs_are_what_all_windows_at_once_give(shape, patch, overlap):
    torch.manual_seed(0)
    field = torch.randn(3, *shape)
    noise = {}

    def look(start):
        where = tuple(slice(a, a + p) for a, p in zip(start, patch, strict=True))
        seed = noise.setdefault(tuple(start), len(noise))
        return field[(slice(None), *where)] + torch.randn(3, *patch, generator=torch.Generator().manual_seed(seed))

    pieces = [(first, slab.clone()) for first, slab in blend_slabs(look, shape, patch, overlap=overlap, ops=TORCH)]
    whole = torch.cat([p for _, p in pieces], dim=1)
    assert [first for first, _ in pieces] == list(np.cumsum([0, *[p.shape[1] for _, p in pieces[:-1]]]))
    torch.testing.assert_close(whole, all_at_once(look, shape, patch, overlap), rtol=1e-4, atol=1e-4)


class Threshold(torch.nn.Module):
    """Says 1 where the image is above a half: a network whose right answer is known."""

    def forward(self, x):
        return torch.cat([0.5 - x[:, :1], x[:, :1] - 0.5], dim=1)


@pytest.mark.parametrize("shape", [(5, 7, 6), (30, 7, 40), (16, 16, 16)])
@pytest.mark.parametrize("flips", [(), (0, 2)])
def test_a_known_network_gives_its_known_answer_at_any_size(shape, flips):
    rng = np.random.default_rng(0)
    array = rng.random(shape).astype(np.float32)
    case = Case("x", {"image": Image(array, Grid.from_shape(shape))})
    how = Inference(tta_flips=flips)
    said = predictor([Threshold()], Segmentation(), patch=(16, 16, 16), place=CPU, how=how).predict(case)
    np.testing.assert_array_equal(said.array, array > 0.5)
    assert said.grid == case.grid


def test_folds_answer_together():
    class Constant(torch.nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, x):
            return torch.cat([torch.zeros_like(x[:, :1]), torch.full_like(x[:, :1], self.value)], dim=1)

    case = Case("x", {"image": Image(np.zeros((4, 4, 4), np.float32), Grid.from_shape((4, 4, 4)))})

    def ask(*values):
        models = [Constant(v) for v in values]
        return predictor(models, Segmentation(), patch=(4, 4, 4), place=CPU).predict(case)

    assert ask(1.0, -3.0).array.max() == 0
    assert ask(3.0, -1.0).array.min() == 1


def test_windows_cover_everything_and_overlap_enough():
    for size in range(1, 60):
        for patch in (1, 7, 16):
            starts = window_starts(size, patch, 0.5)
            covered = {i for s in starts for i in range(s, s + patch)}
            assert set(range(size)) <= covered
            assert all(b - a <= max(1, (patch + 1) // 2) for a, b in pairwise(starts))


class Brightness(torch.nn.Module):
    """Says how bright each image of a batch is, and remembers how many it was shown at a time."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, x):
        self.shown.append(len(x))
        bright = x.mean(dim=tuple(range(1, x.ndim)))
        return torch.stack([torch.zeros_like(bright), bright], dim=1)


def picture(number, shape):
    array = np.random.default_rng(number).normal(size=shape).astype(np.float32)
    return Case(f"c{number}", {"image": Image(array, Grid.from_shape(shape, has_spacing=False))})


def test_cases_shown_together_are_answered_as_each_alone():
    shapes = [(6, 5)] * 5 + [(4, 4)] * 2 + [(6, 5)] * 3
    cases = [picture(n, s) for n, s in enumerate(shapes)]
    task, network = Classification(dims=2, labels=("dark", "bright")), Brightness()
    made = predictor([network], task, patch=(6, 5), place=CPU)
    said = list(made.predict_many(cases))
    assert network.shown == [5, 2, 3]
    for case, together_said in zip(cases, said, strict=True):
        bright = 1 / (1 + np.exp(-float(case.images["image"].array.mean())))
        np.testing.assert_allclose(together_said.values, [1 - bright, bright], rtol=1e-5)
        alone = made.predict(case)
        np.testing.assert_allclose(alone.values, together_said.values, rtol=1e-6)


def test_large_cases_are_shown_one_at_a_time():
    encoded = [(None, {"image": torch.zeros(BATCH_SIZE // 2 + 1)}), (None, {"image": torch.zeros(BATCH_SIZE // 2 + 1)})]
    assert [len(group) for group in group_by_shape(encoded)] == [1, 1]
