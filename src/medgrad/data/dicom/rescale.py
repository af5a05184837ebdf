"""Convert stored values to real ones: Hounsfield units, SUV, lookup tables, MONOCHROME1, colours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut

from .frames import Frame
from .native_pixels import PixelFormat
from .read_dataset import get_first_item, get_items, get_number, get_text

CALIBRATED_MODALITIES = ("CT", "PT", "RTDOSE")
MAX_INT32_FACTOR = 2**14  # times 16 bits it fits into 32
MAX_UPTAKE_TIME = timedelta(hours=24)


def rescaled_dtype(
    pixel_formats: Sequence[PixelFormat], frames: Sequence[Frame], stored_dtype: np.dtype[Any]
) -> np.dtype[Any]:
    """Give the smallest integer type that holds the rescaled values of all frames exactly, else float32."""
    if stored_dtype.kind == "f":
        return stored_dtype
    slopes, intercepts = {f.slope for f in frames}, {f.intercept for f in frames}
    if slopes == {1.0} and intercepts == {0.0}:
        return stored_dtype
    if not all(float(v).is_integer() for v in slopes | intercepts):
        return np.dtype(np.float32)
    ends = [v for s in pixel_formats for v in stored_value_range(s)]
    every = [e * s + i for e in ends for s in slopes for i in intercepts]
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= min(every) and max(every) <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def stored_value_range(pixel_format: PixelFormat) -> tuple[int, int]:
    """Give the smallest and the largest value of the stored bits."""
    n = pixel_format.bits_stored
    return (-(2 ** (n - 1)), 2 ** (n - 1) - 1) if pixel_format.is_signed else (0, 2**n - 1)


def apply_lookup_tables(
    dataset: Dataset, stored: NDArray[Any], pixel_format: PixelFormat, messages: list[str]
) -> NDArray[Any]:
    """Apply palette and modality lookup tables, and invert MONOCHROME1."""
    if pixel_format.photometric == "PALETTE COLOR":
        add_message_once(messages, "The colours were looked up in the picture's palette.")
        return palette_to_8_bits(apply_color_lut(stored, dataset))
    if get_items(dataset, "ModalityLUTSequence"):
        add_message_once(messages, "The values were looked up in the file's modality table.")
        stored = np.asarray(apply_modality_lut(stored, dataset))
    if pixel_format.photometric != "MONOCHROME1" or stored.dtype.kind not in "ui":
        return stored
    if get_text(dataset, "Modality") in CALIBRATED_MODALITIES:
        add_message_once(
            messages, "It is to be shown inverted (MONOCHROME1); the values are measurements and were kept."
        )
        return stored
    add_message_once(
        messages, "Bright is stored as low (MONOCHROME1); the values were inverted, so that bright is high."
    )
    low, high = (
        (int(stored.min()), int(stored.max()))
        if get_items(dataset, "ModalityLUTSequence")
        else stored_value_range(pixel_format)
    )
    return (low + high - stored.astype(np.int64)).astype(stored.dtype)


def palette_to_8_bits(colours: NDArray[Any]) -> NDArray[Any]:
    """Convert a 16-bit palette to 8 bits, where no more than 8 bits are used."""
    if colours.dtype != np.uint16:
        return colours
    high, low = colours >> 8, colours & 255
    return high.astype(np.uint8) if not low.any() or (low == high).all() else colours


def rescale(values: NDArray[Any], frame: Frame, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Apply a frame's rescale slope and intercept."""
    if frame.slope == 1.0 and frame.intercept == 0.0:
        return values.astype(dtype, copy=False)
    if dtype.kind == "i" and values.dtype.kind in "ui":
        small = (
            values.dtype.itemsize <= 2
            and abs(frame.slope) < MAX_INT32_FACTOR
            and abs(frame.intercept) < MAX_INT32_FACTOR
        )
        if small and float(frame.slope).is_integer() and float(frame.intercept).is_integer():
            whole = values.astype(np.int32)  # exact, as floating-point numbers would be
            whole *= np.int32(frame.slope)
            whole += np.int32(frame.intercept)
            return whole.astype(dtype)
    return (values * np.float64(frame.slope) + np.float64(frame.intercept)).astype(dtype)


def add_message_once(messages: list[str], message: str) -> None:
    """Add a message unless it is there already."""
    if message not in messages:
        messages.append(message)


def suv_factor(dataset: Dataset, first_acquisition_time: str) -> tuple[float | None, str]:
    """Give the factor from PET values to SUV by body weight, and a message on how or why not.

    The dose is decayed to the time to which the image is corrected: the start of the series, or the earliest
    acquisition where the series time is later. The method is QIBA's vendor-neutral pseudo-code.
    """
    units = get_text(dataset, "Units").upper()
    if units == "GML":
        return 1.0, "The values are standardised uptake (SUV, g/ml), as the scanner wrote them."
    philips = philips_suv_factor(dataset)
    if units == "CNTS" and philips:
        return philips, f"Counts were turned into SUV (body weight) by the scanner's own factor {philips:.6g}."
    if units != "BQML":
        return None, f"The values stay in {units or 'unknown units'}: no SUV can be worked out from them."
    drug = get_first_item(dataset, "RadiopharmaceuticalInformationSequence")
    weight_kg = get_number(dataset, "PatientWeight")
    dose_bq = get_number(drug, "RadionuclideTotalDose") if drug is not None else None
    half_life_s = get_number(drug, "RadionuclideHalfLife") if drug is not None else None
    lacking = [
        name
        for name, value in (("weight", weight_kg), ("dose", dose_bq), ("half-life", half_life_s))
        if not value or value <= 0
    ]
    corrected = get_text(dataset, "DecayCorrection").upper()
    if corrected not in ("START", "ADMIN"):
        lacking.append("decay correction to a known time")
    if lacking or weight_kg is None or dose_bq is None or half_life_s is None or drug is None:
        return None, f"The values stay in Bq/ml: for SUV the file lacks the {', '.join(lacking)}."
    waited = timedelta(0) if corrected == "ADMIN" else injection_to_scan_time(dataset, drug, first_acquisition_time)
    if waited is None:
        return None, "The values stay in Bq/ml: the times of injection and scan are absent or do not fit together."
    decayed = dose_bq * 2 ** (-waited.total_seconds() / half_life_s)
    return (
        weight_kg * 1000 / decayed,
        f"Bq/ml were turned into SUV (body weight): {weight_kg:g} kg, {dose_bq / 1e6:.4g} MBq, "
        f"{waited.total_seconds() / 60:.1f} minutes from injection to scan.",
    )


def philips_suv_factor(dataset: Dataset) -> float | None:
    """Give Philips' private factor from counts to SUV; None where it is absent."""
    try:
        value = float(dataset.private_block(0x7053, "Philips PET Private Group")[0x00].value)
    except (KeyError, ValueError, TypeError):
        return None
    return value if np.isfinite(value) and value > 0 else None


def injection_to_scan_time(
    dataset: Dataset, radiopharmaceutical: Dataset, first_acquisition_time: str
) -> timedelta | None:
    """Give the time from injection to scan start; None where it is absent or implausible."""
    day = get_text(dataset, "SeriesDate") or get_text(dataset, "AcquisitionDate") or get_text(dataset, "StudyDate")
    series = parse_date_time(day, get_text(dataset, "SeriesTime"))
    first = parse_date_time(get_text(dataset, "AcquisitionDate") or day, first_acquisition_time)
    start = min(t for t in (series, first) if t) if series or first else None
    if start is None:
        return None
    whole = get_text(radiopharmaceutical, "RadiopharmaceuticalStartDateTime")
    injected = parse_date_time(whole[:8], whole[8:]) if len(whole) >= 12 else None
    if injected is None or not timedelta(0) <= start - injected <= MAX_UPTAKE_TIME:
        injected = parse_date_time(f"{start:%Y%m%d}", get_text(radiopharmaceutical, "RadiopharmaceuticalStartTime"))
        if injected is not None and injected > start:
            injected -= timedelta(days=1)
    if injected is None or not timedelta(0) <= start - injected <= MAX_UPTAKE_TIME:
        return None
    return start - injected


def parse_date_time(day: str, time: str) -> datetime | None:
    """Parse a DICOM date and time, without fractions of a second and time zone."""
    digits = time.split(".")[0].split("+")[0].split("-")[0].replace(":", "")
    if len(digits) < 4:
        return None
    try:
        return datetime.strptime(day.replace(".", "") + digits.ljust(6, "0")[:6], "%Y%m%d%H%M%S")
    except ValueError:
        return None
