"""Laws that every loss keeps."""

import pytest
import torch

from medgrad import registry

NAMES = registry.names("losses")
ON_VALUES = ("bce",)


def target_for(name, shape=(6, 5)):
    torch.manual_seed(0)
    if name in ON_VALUES:
        return (torch.rand(2, 3, *shape) > 0.5).float()
    return torch.randint(0, 3, (2, *shape))


def perfect(target, sure=40.0):
    if target.is_floating_point():
        return (target * 2 - 1) * sure
    return (target.unsqueeze(1) == torch.arange(3).view(1, 3, 1, 1)).float() * sure


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_output_costs_nothing(name):
    target = target_for(name)
    assert float(registry.find("losses", name)()(perfect(target), target)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_output_costs_more_than_none(name):
    target = target_for(name)
    loss = registry.find("losses", name)()
    assert float(loss(-perfect(target), target)) > float(loss(torch.zeros_like(perfect(target)), target)) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_descends(name):
    target = target_for(name)
    output = torch.zeros_like(perfect(target)).requires_grad_()
    registry.find("losses", name)()(output, target).backward()
    down = output.detach() - 1.0 * output.grad
    loss = registry.find("losses", name)()
    assert float(loss(down, target)) < float(loss(output.detach(), target))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ON_VALUES])
def test_what_is_ignored_does_not_count(name):
    target = target_for(name)
    hidden = target.clone()
    hidden[:, :3] = -1
    loss, output = registry.find("losses", name)(), torch.randn(2, 3, *target.shape[1:])
    other = output.clone()
    other[:, :, :3] = torch.randn_like(other[:, :, :3])
    torch.testing.assert_close(loss(output, hidden), loss(other, hidden))


@pytest.mark.parametrize("name", NAMES)
def test_can_be_mapped_over_samples(name):
    target, loss = target_for(name), registry.find("losses", name)()
    output = torch.randn(2, 3, *target.shape[-2:])
    each = torch.func.vmap(lambda o, t: loss(o[None], t[None]))(output, target)
    torch.testing.assert_close(each.mean(), loss(output, target))


def test_dice_of_half_an_overlap_is_known():
    output = torch.full((1, 2, 4), -40.0)
    output[0, 1, :2] = 40
    output[0, 0, 2:] = 40
    target = torch.tensor([[0, 1, 1, 0]])
    loss = registry.find("losses", "dice")(smooth=0.0)
    assert float(loss(output, target)) == pytest.approx(0.5, abs=1e-4)


def test_focal_without_gamma_is_cross_entropy():
    output, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    focal, entropy = registry.find("losses", "focal")(gamma=0.0), registry.find("losses", "cross_entropy")()
    torch.testing.assert_close(focal(output, target), entropy(output, target))


def test_tversky_with_halves_is_dice():
    output, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    half = registry.find("losses", "tversky")(alpha=0.5, beta=0.5, smooth=0.5)
    torch.testing.assert_close(half(output, target), registry.find("losses", "dice")(smooth=1.0)(output, target))
