"""Gibbs ringing: what is taken away, along which axes, and what stays."""

import numpy as np
import pytest
from numpy.fft import fft, fftshift, ifft, ifftshift

from medgrad.errors import SettingError
from medgrad.prepare.degibbs import Degibbs, frequency_shares, shift_lines


def truncated(fine, n):
    """A fine image acquired with n lines along its first two axes, and what lies in the same elements on average."""
    for axis in (0, 1):
        lines = fftshift(fft(fine, axis=axis), axes=axis)
        size = lines.shape[axis]
        lines = np.take(lines, np.arange(size // 2 - n // 2, size // 2 - n // 2 + n), axis=axis)
        place = [-1 if a == axis else 1 for a in range(fine.ndim)]
        phase = np.exp(2j * np.pi * (np.arange(n) - n // 2) * (size / n - 1) / 2 / size)
        fine = ifft(ifftshift(lines * phase.reshape(place), axes=axis), axis=axis) * (n / size)
    return np.abs(fine).astype(np.float32)


def shapes(n=48, fine=8):
    """A disc with a hole and a bar, drawn finely, and its mean over elements."""
    y, x = (np.indices((n * fine, n * fine)) + 0.5) / (n * fine) - 0.5
    drawn = 100.0 * (np.hypot(x, y) < 0.4) - 60 * (np.hypot(x - 0.1, y) < 0.12) + 50 * (abs(y + 0.25) < 0.03)
    drawn[np.hypot(x, y) >= 0.4] = 0
    return drawn, drawn.reshape(n, fine, n, fine).mean((1, 3))


def error(found, wanted):
    return float(np.mean((found - wanted) ** 2))


def test_the_error_of_a_truncated_image_falls_by_a_third():
    drawn, wanted = shapes()
    image = truncated(drawn, 48)
    found, _ = Degibbs().change(image, (1.0, 1.0))
    assert error(found, wanted) < 0.67 * error(image, wanted)


def test_ripples_in_a_flat_disc_are_gone():
    drawn, wanted = shapes()
    image = truncated(drawn, 48)
    found, _ = Degibbs().change(image, (1.0, 1.0))
    flat = np.s_[30:36, 13:19]
    assert (wanted[flat] == 100).all()
    assert found[flat].std() < 0.5 * image[flat].std()


def test_a_step_between_elements_stays_as_it_is():
    """Its samples ring nowhere: each is shifted by nothing."""
    image = np.where(np.indices((32, 32))[0] < 16, 100, 20).astype(np.float32)
    found, _ = Degibbs().change(image, (1.0, 1.0))
    np.testing.assert_allclose(found, image, atol=1e-3)


def test_a_zero_filled_image_needs_to_be_told():
    drawn, _ = shapes()
    lines = fftshift(np.fft.fft2(truncated(drawn, 48)))
    image = np.abs(np.fft.ifft2(ifftshift(np.pad(lines, 24)))).astype(np.float32) * 4
    flat = np.s_[60:72, 26:38]
    plain, told = (Degibbs(zero_filled=k).change(image, (0.5, 0.5))[0] for k in (1, 2))
    assert told[flat].std() < 0.6 * image[flat].std()
    assert told[flat].std() < plain[flat].std()


def test_thick_slices_do_not_ring_and_named_axes_are_taken():
    image = np.random.default_rng(0).normal(0, 1, (24, 20, 18)).astype(np.float32)
    assert Degibbs().change(image, (1.0, 1.2, 4.0))[1] == {"along": "0,1"}
    assert Degibbs().change(image, (4.0, 1.0, 1.0))[1] == {"along": "1,2"}
    assert Degibbs().change(image, (1.0, 1.0, 1.0))[1] == {"along": "0,1,2"}
    assert Degibbs(axes=(-1,)).change(image, (1.0, 1.0, 1.0))[1] == {"along": "2"}


def test_slices_are_changed_each_by_itself():
    image = np.random.default_rng(0).normal(0, 1, (24, 20, 3)).astype(np.float32)
    whole, _ = Degibbs().change(image, (1.0, 1.0, 4.0))
    alone, _ = Degibbs().change(image[..., 1], (1.0, 1.0))
    np.testing.assert_allclose(whole[..., 1], alone, atol=1e-5)


def test_shares_of_frequencies_add_up_to_all():
    shares = frequency_shares((16, 12, 10), (0, 1, 2))
    np.testing.assert_allclose(sum(shares), 1, atol=1e-6)
    assert shares[0][:, 0, 0].min() > 0.3
    assert frequency_shares((16, 12), (1,))[0].max() == 1


def test_a_step_that_rings_between_elements_becomes_flat_on_both_sides():
    fine = np.where(np.arange(64 * 32) < 32 * 32, 1.0, 0.0)
    spectrum = fft(np.concatenate([fine, fine[::-1]]))
    line = np.real(ifft(np.concatenate([spectrum[:64], spectrum[-64:]])))[:64].astype(np.float32) / 32
    wanted, away = np.where(np.arange(64) < 32, 1, 0), np.abs(np.arange(64) - 31.5) > 3
    assert np.abs(line - wanted)[away].max() > 0.02
    assert np.abs(shift_lines(line[None])[0] - wanted)[away].max() < 0.01


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (40, 40, 1), (9, 9, 9)])
def test_small_images_are_taken(shape):
    image = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    found, _ = Degibbs().change(image, (1.0,) * len(shape))
    assert found.shape == shape
    assert np.isfinite(found).all()


@pytest.mark.parametrize("settings", [{"axes": (3,)}, {"axes": ("x",)}, {"zero_filled": 0}, {"zero_filled": 1.5}])
def test_a_bad_setting_is_told_in_one_line(settings):
    with pytest.raises(SettingError, match=next(iter(settings))) as caught:
        Degibbs(**settings)
    assert "\n" not in str(caught.value)


def test_an_axis_that_the_image_lacks_is_refused():
    with pytest.raises(SettingError, match="2"):
        Degibbs(axes=(2,)).change(np.zeros((20, 20), np.float32), (1.0, 1.0))
