"""DICOM files and series of CT pictures, made element by element for the tests."""

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"


def made(array, syntax=ExplicitVRLittleEndian, **elements):
    """Give a data set of one CT picture; ``elements`` are set on it, and None removes one."""
    source = Dataset()
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = syntax
    source.SOPClassUID, source.Modality, source.PatientID = CT, "CT", "P1"
    source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    source.file_meta.MediaStorageSOPClassUID = CT
    source.StudyInstanceUID, source.SeriesInstanceUID, source.SeriesDescription = "1.2.3", "1.2.3.4", "chest"
    source.Rows, source.Columns = array.shape[-2:] if array.ndim < 4 else array.shape[1:3]
    source.SamplesPerPixel, source.PhotometricInterpretation = 1, "MONOCHROME2"
    source.BitsAllocated = source.BitsStored = array.dtype.itemsize * 8
    source.HighBit = source.BitsStored - 1
    source.PixelRepresentation = int(array.dtype.kind == "i")
    source.PixelSpacing = [2.0, 0.5]  # rows lie 2 mm apart, columns 0.5
    source.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    source.ImagePositionPatient = [10, 20, 30]
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    source.add_new(
        "PixelData", "OW" if array.dtype.itemsize > 1 else "OB", array.astype(array.dtype.newbyteorder(order)).tobytes()
    )
    if len(source.PixelData) % 2:
        source.PixelData += b"\0"
    for name, value in elements.items():
        if value is None:
            del source[name]
        else:
            setattr(source, name, value)
    return source


def without(elements, *names):
    return {k: v for k, v in elements.items() if k not in names}


def saved(path, array, **elements):
    source = made(array, **elements)
    source.save_as(path, enforce_file_format=True)
    return path


def series(folder, n=5, *, shape=(3, 4), step=(0, 0, 2.5), positions=None, **elements):
    """Write ``n`` slices whose values are 100 k + 10 row + column, under names that say nothing of their order."""
    folder.mkdir(exist_ok=True)
    row, column = np.indices(shape)
    for k in range(n):
        place = positions[k] if positions is not None else np.array([10, 20, 30]) + k * np.array(step)
        array = (100 * k + 10 * row + column).astype(np.int16)
        saved(folder / f"{(k * 7) % 11:02}.dcm", array, ImagePositionPatient=[float(v) for v in place], **elements)
    return folder


def one_line(caught, path):
    return str(path) in str(caught.value) and "\n" not in str(caught.value)
