"""A small CT series, labels and chances on it, and every answer that can be written about them."""

import hashlib

import numpy as np

from medgrad.data import Grid, Image, LabelMap, Source
from medgrad.data.dicom.write.ct import SeriesHeader, write_ct
from medgrad.data.dicom.write.equipment import Algorithm
from medgrad.data.dicom.write.measurement_report import write_measurement_report
from medgrad.data.dicom.write.parametric_map import write_parametric_maps
from medgrad.data.dicom.write.rtstruct import write_rtstruct
from medgrad.data.dicom.write.secondary_capture import write_secondary_captures
from medgrad.data.dicom.write.seg import make_probability_seg, make_seg, save_dataset
from medgrad.data.formats import read
from medgrad.data.grid import matrix_to_tuples

AXIAL = np.diag([-1.0, -1.0, 1.0])
TURNED = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) @ np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
NAMES = ("left kidney", "liver lesion", "some blob or other")
WEIGHTS = b"learned"
HASH = hashlib.sha256(WEIGHTS).hexdigest()


def make_series(folder, directions=AXIAL, shape=(9, 8, 5), spacing=(0.7, 1.3, 2.5)):
    """Write a series and give its source and its image."""
    matrix = np.eye(4)
    matrix[:3, :3] = directions * np.array(spacing)
    matrix[:3, 3] = (12.5, -40.25, 7.0)
    array = np.random.default_rng(0).integers(-900, 900, shape).astype(np.int16)
    about = {"PatientID": "p", "PatientName": "A^B", "StudyDate": "20240102", "StudyTime": "101500", "StudyID": "7"}
    write_ct(
        folder, Image(array, Grid(shape, matrix_to_tuples(matrix)), "ct"), SeriesHeader("a", "study", "frame", about)
    )
    return Source(folder), read(folder)


def labels_on(grid, names=NAMES):
    """Draw labels with holes, pieces that touch at corners, and a slice without any."""
    array = np.random.default_rng(1).integers(0, len(names) + 1, grid.shape).astype(np.uint8)
    array[..., 1] = 0
    return LabelMap(array, grid, dict(enumerate(names, 1)))


def chances_on(grid, names=NAMES):
    """Draw chances that leave something to the background."""
    shares = np.random.default_rng(2).dirichlet(np.ones(len(names) + 1), grid.shape).astype(np.float32)
    return Image(shares[..., 1:], grid, "other", {"labels": names})


def maker_in(folder):
    """Give a maker with weights."""
    path = folder / "weights.bin"
    path.write_bytes(WEIGHTS)
    return Algorithm("segmentation by unet", (path,))


def every_answer(folder, source, image):
    """Write an answer of every kind and give the files by kind."""
    maker, labels, chances = maker_in(folder), labels_on(image.grid), chances_on(image.grid)
    report = write_measurement_report(folder / "sr.dcm", labels, image, source, made_by=maker)
    return {
        "dicomseg": save_dataset(make_seg(labels, source, made_by=maker), folder / "seg.dcm"),
        "labelmap": save_dataset(
            make_seg(labels, source, segment_kind="LABELMAP", made_by=maker), folder / "labelmap.dcm"
        ),
        "dicomseg-fractional": save_dataset(
            make_probability_seg(chances, source, made_by=maker), folder / "chances.dcm"
        ),
        "map": write_parametric_maps(folder / "map.dcm", chances, source, made_by=maker)[0],
        "seg of sr": report[0],
        "sr": report[1],
        "capture": write_secondary_captures(folder / "pictures", labels, image, source, made_by=maker)[0],
        "rtstruct": write_rtstruct(folder / "outlines.dcm", labels, source, made_by=maker),
    }


def write_segmentation(path, labels, source):
    """Write labels as a DICOM SEG that refers to the series they were drawn on, and give its path."""
    return save_dataset(make_seg(labels, source), path)
