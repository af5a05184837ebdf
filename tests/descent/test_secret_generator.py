"""Secret numbers follow from no seed, are distributed as they should be, and go on from a checkpoint."""

import hashlib
import json
import random

import numpy as np
import pytest
import torch
from scipy import stats

from medgrad.descent.gradients import SecretGenerator, Stateful


def seeded():
    torch.manual_seed(0)
    np.random.default_rng(0)
    random.seed(0)
    return SecretGenerator().draw_bytes(16)


def test_no_seed_reaches_it():
    assert seeded() != seeded()


def test_it_leaves_the_generators_of_torch_alone():
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    SecretGenerator().normal_like(torch.zeros(5))
    assert torch.equal(torch.rand(3), wanted)


def test_it_goes_on_from_its_state_which_json_can_hold():
    one, other = SecretGenerator(), SecretGenerator()
    assert isinstance(one, Stateful)
    one.uniform(3)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for _ in range(3):
        assert torch.equal(one.normal_like(torch.zeros(2, 3)), other.normal_like(torch.zeros(2, 3)))
    with pytest.raises(ValueError, match="32 bytes, not 1"):
        other.load_state_dict({"key": "00"})


def test_a_state_tells_nothing_of_what_was_drawn():
    """The key of a draw is hashed away: what comes next follows from it, and not the other way."""
    made = SecretGenerator()
    made.load_state_dict({"key": "00" * 32})
    assert made.draw_bytes(5) == hashlib.shake_256(b"draw" + bytes(32)).digest(5)
    assert made.key == hashlib.sha3_256(b"next" + bytes(32)).digest()


def test_numbers_are_distributed_as_they_should_be():
    made = SecretGenerator()
    made.load_state_dict({"key": "01" * 32})
    assert stats.kstest(made.uniform(20_000), "uniform").pvalue > 0.01
    drawn = made.normal_like(torch.zeros(100, 201, dtype=torch.float64))
    assert stats.kstest(drawn.flatten(), "norm").pvalue > 0.01
    halves = drawn.flatten()[:20_100].view(2, -1)
    assert abs(np.corrcoef(halves)[0, 1]) < 0.03


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 0), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_of_the_shape_and_type_of_what_it_is_for(shape, dtype):
    drawn = SecretGenerator().normal_like(torch.zeros(shape, dtype=dtype))
    assert drawn.shape == shape
    assert drawn.dtype == dtype
    assert drawn.isfinite().all()
