"""A chain of gradient methods keeps the state of each link, by its place and name."""

import pytest

from medgrad.descent.gradients import Chain
from medgrad.errors import FormatError


class Counted:
    """Counts its calls, and multiplies the loss of what it wraps."""

    def __init__(self, inner=None):
        self.inner, self.calls = inner, 0

    def __call__(self, model, task, batch):
        self.calls += 1
        return {"loss": self.calls * (self.inner(model, task, batch)["loss"] if self.inner else 1.0)}

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


def chain():
    first = Counted()
    second = Counted(lambda *about: first(*about))
    return Chain([("counted", first), ("stateless", second.inner), ("counted", second)])


def test_each_link_goes_on_from_its_own_state():
    whole, resumed = chain(), chain()
    whole.links[0][1](None, None, None)
    whole(None, None, None)
    assert whole.state_dict() == {"0.counted": {"calls": 2}, "2.counted": {"calls": 1}}
    resumed.load_state_dict(whole.state_dict())
    assert resumed(None, None, None) == whole(None, None, None) == {"loss": 6.0}


@pytest.mark.parametrize("state", [{}, {"0.counted": {"calls": 1}}, {"1.counted": {"calls": 1}, "2.counted": {}}])
def test_the_state_of_another_chain_is_refused(state):
    with pytest.raises(FormatError, match=r"needs that of 0\.counted, 2\.counted"):
        chain().load_state_dict(state)
