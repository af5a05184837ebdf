"""The whole output with its graph is that of prediction, and its gradient that of the windows together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from medgrad.data import Case, Grid, Image
from medgrad.engine.compute.device import AutocastModule, Compute
from medgrad.engine.evaluation.differentiable_output import differentiable_output
from medgrad.engine.evaluation.infer import predictor
from medgrad.engine.runs.recipe import Inference
from medgrad.errors import SettingError
from medgrad.tasks import stack_samples
from medgrad.tasks.classification import Classification
from medgrad.tasks.detection import Detection
from medgrad.tasks.segmentation import Segmentation

EXACT = Compute("cpu", torch.float32)


def network(dims, seed=0, outputs=2):
    """A small smooth network with padding, so that windows differ from the whole at their edges."""
    torch.manual_seed(seed)
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    return nn.Sequential(conv(1, 4, 3, padding=1), nn.Tanh(), nn.Dropout(0.5), conv(4, outputs, 3, padding=1))


def case(shape, seed=0):
    array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return Case("x", {"image": Image(array, Grid.from_shape(shape))})


def inputs_of(task, *cases):
    inputs = dict(stack_samples([task.encode(one) for one in cases]).inputs)
    return {**inputs, "image": inputs["image"].requires_grad_()}


@pytest.mark.parametrize("shape", [(20, 13), (6, 30), (5, 5), (8, 8), (18, 9, 11)])
@pytest.mark.parametrize(("overlap", "flips"), [(0.5, ()), (0.25, (0, 1))])
def test_is_the_output_of_prediction_before_decoding(shape, overlap, flips):
    task, seen = Segmentation(dims=len(shape), labels=("spot",)), []
    models = [AutocastModule(network(len(shape), seed), EXACT) for seed in range(2)]
    patch = (8,) * len(shape)
    how = Inference(overlap=overlap, tta_flips=flips, coarse_to_fine=False)
    made = predictor(models, task, patch=patch, place=EXACT, how=how)

    def decode(output, grid):
        seen.append(output.clone())
        return task.decode(output, grid)

    replace(made, decode=decode).answer(case(shape))
    inputs = inputs_of(task, case(shape))
    for recompute in (True, False):
        found = differentiable_output(
            models, task, inputs, patch=patch, overlap=overlap, flips=flips, recompute=recompute
        )
        torch.testing.assert_close(found[0].detach(), torch.cat(seen, dim=1), rtol=1e-5, atol=1e-5)


def whole_gradient(model, task, inputs, **settings):
    inputs["image"].grad = None
    output = differentiable_output([model], task, inputs, **settings)
    (output * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum().backward()
    return inputs["image"].grad.clone()


@pytest.mark.parametrize("recompute", [True, False])
def test_the_gradient_is_that_of_finite_differences(recompute):
    task, model = Segmentation(dims=2, labels=("spot",)), network(2)
    inputs = inputs_of(task, case((9, 14)))
    settings = {"patch": (6, 8), "flips": (1,), "recompute": recompute}
    found = whole_gradient(model, task, inputs, **settings)
    factors = torch.linspace(-1, 1, 2 * 9 * 14).view(1, 2, 9, 14).double()

    def value(x):
        return (differentiable_output([model], task, {"image": x}, **settings).double() * factors).sum()

    rng = np.random.default_rng(0)
    with torch.no_grad():
        for _ in range(12):
            step = torch.zeros_like(inputs["image"])
            step[0, 0, rng.integers(9), rng.integers(14)] = 0.05
            slope = (value(inputs["image"] + step) - value(inputs["image"] - step)) / 0.1
            assert float((found * step).sum() / 0.05) == pytest.approx(float(slope), rel=2e-2, abs=5e-3)


def test_the_gradient_of_an_elementwise_network_is_that_of_the_whole_image():
    """Without a neighbourhood, windows change nothing."""
    task, model = (
        Segmentation(dims=3, labels=("spot",)),
        nn.Sequential(nn.Conv3d(1, 3, 1), nn.Tanh(), nn.Conv3d(3, 2, 1)),
    )
    inputs = inputs_of(task, case((9, 7, 12)), case((9, 7, 12), seed=1))
    windows = whole_gradient(model, task, inputs, patch=(4, 4, 4))
    weights = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    whole = whole_gradient(model, task, inputs, patch=(9, 7, 12))
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(windows, whole, rtol=1e-4, atol=1e-6)
    for found, p in zip(weights, model.parameters(), strict=True):
        torch.testing.assert_close(found, p.grad, rtol=1e-4, atol=1e-5)


def test_recomputed_windows_keep_no_activations():
    task, model = Segmentation(dims=2, labels=("spot",)), network(2)
    inputs = inputs_of(task, case((40, 40)))

    def kept(recompute):
        sizes = []

        def keep(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            differentiable_output([model], task, inputs, patch=(8, 8), recompute=recompute)
        return sum(sizes)

    assert kept(True) < kept(False) / 4


def test_whole_images_have_a_graph_too():
    task = Classification(dims=2, labels=("a", "b"))
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    inputs = inputs_of(task, case((12, 12)))
    output = differentiable_output([model], task, inputs, patch=(8, 8), flips=(0,))
    assert output.shape == (1, 2)
    output[0, 1].backward()
    assert inputs["image"].grad.abs().sum() > 0


def test_descending_on_the_input_raises_a_class():
    task, model = Segmentation(dims=2, labels=("spot",)), network(2)
    inputs = inputs_of(task, case((20, 20)))

    def spot(image):
        return differentiable_output([model], task, {"image": image}, patch=(8, 8)).softmax(1)[:, 1].mean()

    before = spot(inputs["image"])
    (gradient,) = torch.autograd.grad(before, inputs["image"])
    assert spot(inputs["image"].detach() + 50 * gradient) > before


def test_boxes_have_no_output_about_the_whole():
    task = Detection(dims=2, labels=("spot",))
    with pytest.raises(SettingError, match="answers each window with boxes"):
        differentiable_output([network(2)], task, inputs_of(task, case((20, 20))), patch=(8, 8))
