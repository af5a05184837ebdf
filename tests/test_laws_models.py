"""Laws that every network keeps, in 2D and 3D."""

import pytest
import torch

from medgrad import registry
from medgrad.tasks import full_resolution

NAMES = registry.names("models")
SHAPES = {2: (16, 24), 3: (16, 8, 16)}


def make(name, dims, inputs=2, outputs=3):
    if name == "monai":
        pytest.importorskip("monai", reason="the monai extra is not installed")
        return registry.find("models", name)(inputs, outputs, dims, network="UNet", channels=(8, 16), strides=(2,))
    settings = {"shape": SHAPES[dims]} if name in ("logistic", "mlp", "svm") else {}
    if "pyramid" in registry.find("models", name).output_kinds:
        settings = {"channels": (8, 16, 16), "first": 1, "width": 16}
    if name == "rectified_flow":
        settings = {"channels": (8, 16), "steps": 2}
    if name == "resnet":
        settings = {"channels": (8, 16, 32, 64)}
    return registry.find("models", name)(inputs, outputs, dims, **settings)


@pytest.fixture(params=[(n, d) for n in NAMES for d in (2, 3)], ids=lambda p: f"{p[0]}-{p[1]}D")
def model_and_dims(request):
    torch.manual_seed(0)
    return make(*request.param), request.param[1]


def test_gives_what_it_says(model_and_dims):
    model, dims = model_and_dims
    x = torch.randn(2, 2, *SHAPES[dims])
    out = full_resolution(model.eval()(x))
    assert set(model.output_kinds) & {"dense", "pooled", "pyramid"}
    if "pyramid" in model.output_kinds:
        corners, chances = model.decode(out, dims=dims, classes=3)
        assert corners.shape == (2, out.shape[1], 2 * dims)
        assert chances.shape == (2, out.shape[1], 3)
        assert bool(((chances >= 0) & (chances <= 1)).all())
        assert bool((corners[..., dims:] >= corners[..., :dims]).all())
        return
    assert out.shape == ((2, 3, *SHAPES[dims]) if "dense" in model.output_kinds else (2, 3))


def test_every_weight_gets_a_gradient(model_and_dims):
    model, dims = model_and_dims
    if "dense" not in model.output_kinds:  # heads begin at zero: move them off it
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.1)
    out = model.train()(torch.randn(4, 2, *SHAPES[dims]))
    (sum(o.square().sum() for o in out) if isinstance(out, tuple) else out.square().sum()).backward()
    for name, p in model.named_parameters():
        if name.split(".")[0] in getattr(model, "training_only", ()):
            assert p.grad is None, name
        else:
            assert p.grad is not None, name
            assert p.grad.isfinite().all(), name


def test_a_sample_is_answered_the_same_in_any_company(model_and_dims):
    model, dims = model_and_dims
    x = torch.randn(3, 2, *SHAPES[dims])
    with torch.no_grad():
        torch.testing.assert_close(
            full_resolution(model.eval()(x))[:1], full_resolution(model(x[:1])), rtol=1e-4, atol=1e-4
        )


def test_is_rebuilt_by_its_weights(model_and_dims):
    model, dims = model_and_dims
    torch.manual_seed(1)
    name = next(n for n in NAMES if type(model) is registry.find("models", n))
    again = make(name, dims)
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 2, *SHAPES[dims])
    torch.testing.assert_close(full_resolution(again.eval()(x)), full_resolution(model.eval()(x)))
