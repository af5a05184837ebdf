"""Series of every kind that a derived series is made of, and what the tests ask of it."""

import made_dicom
import numpy as np
import pydicom
from pydicom.dataset import Dataset

from medgrad.data import Image, Source
from medgrad.data.dicom.write.derived import write_derived_series
from medgrad.data.formats import read

PET = "1.2.840.10008.5.1.4.1.1.128"
MR = "1.2.840.10008.5.1.4.1.1.4"


def scan(folder, arrays, *, slopes=(), each=(), **elements):
    """Write slices 2.5 mm apart under names that say nothing of their order; ``slopes`` and ``each`` are by slice."""
    folder.mkdir()
    for k, array in enumerate(arrays):
        own = {"RescaleSlope": slopes[k][0], "RescaleIntercept": slopes[k][1]} if len(slopes) else {}
        own |= {"ImagePositionPatient": [10.0, 20.0, 30 + 2.5 * k], "InstanceNumber": k + 1}
        made_dicom.saved(folder / f"{(k * 7) % 11:02}.dcm", array, **own, **elements, **(each[k] if each else {}))
    return Source(folder)


def random_slices(count=4, low=0, high=4096, dtype=np.uint16, shape=(5, 6)):
    return np.random.default_rng(0).integers(low, high, (count, *shape)).astype(dtype)


def changed(image, values=None, grid=None):
    return Image(image.array if values is None else values, grid or image.grid, image.modality, image.tags)


def derive(source, image, folder, **more):
    """Write an image as derived from a source, and give its files by the UID of their source, and what is read."""
    write_derived_series(folder, image, source, derivation="smooth fwhm=4", **more)
    files = [pydicom.dcmread(p) for p in sorted(folder.glob("*"))]
    return {f.SourceImageSequence[0].ReferencedSOPInstanceUID: f for f in files}, read(folder)


def sources(source):
    return [pydicom.dcmread(p) for p in sorted(source.path.glob("*"))]


def noisy(image, scale, seed=1):
    return (image.array + np.random.default_rng(seed).normal(0, scale, image.array.shape)).astype(np.float32)


def assert_within_half_a_step(found, wanted, files):
    steps = np.array([float(f.get("RescaleSlope", 1)) for f in sorted(files, key=lambda f: f.ImagePositionPatient[2])])
    off = np.abs(found.array.astype(float) - wanted.astype(float)) / steps
    assert off.max() <= 0.5 + 1e-3  # what is read is float32


def pet(folder, **elements):
    """Write a PET series in Bq/ml that says all that SUV takes, with a slope for each slice."""
    drug = Dataset()
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = "400000000", "6588"
    drug.RadiopharmaceuticalStartDateTime = "20200101090000"
    about = {
        "SOPClassUID": PET, "Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "PatientWeight": "70",
        "SeriesDate": "20200101", "SeriesTime": "100000", "AcquisitionTime": "100000",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "RadiopharmaceuticalInformationSequence": [drug],
    }  # fmt: skip
    slopes = [(0.5, 0), (1.25, 0), (0.75, 0), (2, 0)]
    arrays = random_slices(high=32000, dtype=np.int16)
    return scan(folder, arrays, slopes=slopes, **about | elements)


def enhanced(path):
    """Write an enhanced image of three frames, with a slope each."""
    arrays = random_slices(3)
    file = made_dicom.made(
        arrays, SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1", NumberOfFrames=3, ImagePositionPatient=None,
        ImageOrientationPatient=None, ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
    )  # fmt: skip

    def group(keyword, **elements):
        item = Dataset()
        for name, value in elements.items():
            setattr(item, name, value)
        return {keyword: [item]}

    shared = Dataset()
    for name, value in {
        **group("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        **group("PixelMeasuresSequence", PixelSpacing=[1, 2], SliceThickness="3"),
        **group("CTImageFrameTypeSequence", FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]),
    }.items():
        setattr(shared, name, value)
    file.SharedFunctionalGroupsSequence, file.PerFrameFunctionalGroupsSequence = [shared], []
    for k in (2, 0, 1):
        one = Dataset()
        one.PlanePositionSequence = group("a", ImagePositionPatient=[0, 0, 3 * k])["a"]
        scale = {"RescaleSlope": str(1 + k), "RescaleIntercept": "-10", "RescaleType": "HU"}
        one.PixelValueTransformationSequence = group("a", **scale)["a"]
        file.PerFrameFunctionalGroupsSequence.append(one)
    file.save_as(path, enforce_file_format=True)
    return path
