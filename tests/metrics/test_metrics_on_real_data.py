"""The metrics on real masks: against MONAI where it is installed, and against what is published."""

import numpy as np
import pytest

from medgrad import metrics
from medgrad.data.formats import read, read_labels
from medgrad.data.types import LabelMap

ON_LABELS = ["dice", "iou", "hd95", "assd", "nsd", "volume_error", "lesions", "pixel_confusion"]


def labels_of(path, like):
    found = read_labels(path, reference_grid=like)
    return LabelMap((found.array > 0).astype(np.uint8), found.grid, {1: "a"})


@pytest.mark.real
@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_hippocampi_of_two_patients_differ_as_monai_says(real_data):
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    files = sorted((real_data("seg3d_hippocampus") / "labels").glob("*.nii.gz"))[:8]
    masks = [read_labels(f) for f in files]
    for one, two in zip(masks[::2], masks[1::2], strict=True):
        shape = [max(a, b) for a, b in zip(one.array.shape, two.array.shape, strict=True)]
        arrays = []
        for m in (one, two):
            padded = np.zeros(shape, np.uint8)
            padded[tuple(slice(s) for s in m.array.shape)] = m.array
            arrays.append(padded)
        grid = one.grid.crop((0,) * 3, shape)
        names = {1: "anterior", 2: "posterior"}
        row = metrics.judge(ON_LABELS, *(LabelMap(a, grid, names) for a in arrays))
        for number, name in names.items():
            y, p = (torch.from_numpy((a == number).astype(np.float32))[None, None] for a in arrays)
            known = {"include_background": True, "spacing": grid.spacing}
            assert row[f"dice/{name}"] == pytest.approx(float(compute_dice(p, y)), abs=1e-6)
            assert row[f"hd95/{name}"] == pytest.approx(
                float(compute_hausdorff_distance(p, y, percentile=95, **known)), abs=1e-5
            )
            assert row[f"nsd/{name}"] == pytest.approx(float(compute_surface_dice(p, y, [1.0], **known)), abs=1e-6)


@pytest.mark.real
def test_vessels_are_judged_inside_the_field_of_view(real_data):
    folder = real_data("seg2d_drive")
    rows = []
    for number in range(21, 41):
        image = read(folder / "images" / f"{number}.png")
        truth = labels_of(folder / "vessel" / f"{number}.png", image.grid)
        region = labels_of(folder / "fov" / f"{number}.png", image.grid)
        green = image.array[..., 1].astype(float)
        inside = region.array > 0
        from scipy.ndimage import gaussian_filter

        dark = gaussian_filter(green, 8) - gaussian_filter(green, 1)
        answer = LabelMap((dark > np.quantile(dark[inside], 0.88)).astype(np.uint8), truth.grid, {1: "a"})
        rows.append(metrics.judge(["pixel_confusion"], truth, answer, region=region))
        assert sum(rows[-1][f"{w}/a"] for w in ("true_positives", "false_negatives")) == truth.array[inside].sum()
    pooled = metrics.pool(["pixel_confusion"], rows)
    assert 0.5 < pooled["f1/a"] < 0.75
    assert pooled["specificity/a"] > 0.9
