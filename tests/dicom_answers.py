"""A small CT series, labels and chances on it, and every answer that can be written about them."""

import hashlib

import numpy as np

from medgrad.data import Grid, Image, LabelMap, Source
from medgrad.data.dicom.write.ct import SeriesHeader, write_ct
from medgrad.data.dicom.write.equipment import Algorithm
from medgrad.data.dicom.write.measurement_report import write_measurements
from medgrad.data.dicom.write.parametric_map import write_maps
from medgrad.data.dicom.write.rtstruct import write_structures
from medgrad.data.dicom.write.secondary_capture import write_captures
from medgrad.data.dicom.write.seg import encoded, encoded_chances, save
from medgrad.data.formats import read
from medgrad.data.grid import as_rows

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
    write_ct(folder, Image(array, Grid(shape, as_rows(matrix)), "ct"), SeriesHeader("a", "study", "frame", about))
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
    report = write_measurements(folder / "sr.dcm", labels, image, source, maker=maker)
    return {
        "dicomseg": save(encoded(labels, source, maker=maker), folder / "seg.dcm"),
        "labelmap": save(encoded(labels, source, kind="LABELMAP", maker=maker), folder / "labelmap.dcm"),
        "dicomseg-fractional": save(encoded_chances(chances, source, maker=maker), folder / "chances.dcm"),
        "map": write_maps(folder / "map.dcm", chances, source, maker=maker)[0],
        "seg of sr": report[0],
        "sr": report[1],
        "capture": write_captures(folder / "pictures", labels, image, source, maker=maker)[0],
        "rtstruct": write_structures(folder / "outlines.dcm", labels, source, maker=maker),
    }


def write_segmentation(path, labels, source):
    """Write labels as a DICOM SEG that refers to the series they were drawn on, and give its path."""
    return save(encoded(labels, source), path)
