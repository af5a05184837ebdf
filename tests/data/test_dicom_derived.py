"""Derived DICOM series: values, geometry, what is said of the derivation, and what is not said any more."""

from itertools import permutations, product

import made_dicom
import numpy as np
import pydicom
import pytest
from derived_scans import (
    MR,
    PET,
    assert_within_half_a_step,
    changed,
    derive,
    enhanced,
    noisy,
    pet,
    random_slices,
    scan,
    sources,
)
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from medgrad.data import Grid, Image, Source
from medgrad.data.dicom.write.derived import write_derived_series
from medgrad.data.dicom.write.derived_header import declare_lossy_compression
from medgrad.data.formats import read
from medgrad.data.grid import matrix_to_tuples
from medgrad.errors import FormatError


def test_what_is_true_stays_and_the_derivation_is_told(tmp_path):
    about = {
        "PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "FrameOfReferenceUID": "1.2.9", "KVP": "120", "SeriesNumber": "3", "WindowCenter": "40", "WindowWidth": "400",
        "InstanceCreationDate": "20200101", "SmallestImagePixelValue": 0, "ContentTime": "101112",
    }  # fmt: skip
    source = scan(tmp_path / "in", random_slices(), slopes=[(1, -1024)] * 4, **about)
    image = read(source)
    files, back = derive(source, changed(image, np.clip(image.array, -500, 500)), tmp_path / "out")
    assert back.grid.is_close(image.grid)
    assert len(files) == 4
    for old in sources(source):
        new = files[old.SOPInstanceUID]
        for name in ("PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "ImagePositionPatient", "PixelSpacing",
                     "ImageOrientationPatient", "KVP", "InstanceNumber", "WindowCenter", "ContentTime", "Modality",
                     "SOPClassUID", "RescaleSlope", "RescaleIntercept", "BitsStored"):  # fmt: skip
            assert new[name].value == old[name].value, name
        assert list(new.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert (new.SeriesNumber, new.SeriesDescription) == (305, "chest, smooth fwhm=4")
        assert new.SeriesInstanceUID != old.SeriesInstanceUID
        assert new.SOPInstanceUID == new.file_meta.MediaStorageSOPInstanceUID != old.SOPInstanceUID
        assert new.SourceImageSequence[0].ReferencedSOPClassUID == old.SOPClassUID
        assert new.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        assert new.DerivationDescription.endswith(": smooth fwhm=4")
        assert new.DerivationCodeSequence[0].CodeMeaning == "Image Processing"
        maker = new.ContributingEquipmentSequence[-1]
        assert (maker.PurposeOfReferenceCodeSequence[0].CodeValue, maker.Manufacturer) == ("109102", "medgrad")
        assert new.SmallestImagePixelValue == new.pixel_array.min() > 0
        assert "InstanceCreationDate" not in new
    assert len({f.SOPInstanceUID for f in files.values()}) == 4
    assert len({f.SeriesInstanceUID for f in files.values()}) == 1


def test_the_same_input_gives_the_same_bytes_and_another_one_other_uids(tmp_path):
    source = scan(tmp_path / "in", random_slices(2))
    image = read(source)
    once, again, other = (
        write_derived_series(tmp_path / name, changed(image, image.array + add), source, derivation="a")
        for name, add in (("a", 0), ("b", 0), ("c", 1))
    )
    assert [p.read_bytes() for p in once] == [p.read_bytes() for p in again]
    series = {pydicom.dcmread(p).SeriesInstanceUID for p in (*once, *other)}
    assert len(series) == 2


def test_an_unchanged_image_gives_the_stored_integers_of_its_source(tmp_path):
    slopes = [(0.0123, -7.25), (1.5, 0), (3, -1000), (0.00005561342011, 12)]
    source = scan(tmp_path / "in", random_slices(high=65536), slopes=slopes)
    files, _ = derive(source, read(source), tmp_path / "out")
    for old in sources(source):
        np.testing.assert_array_equal(files[old.SOPInstanceUID].pixel_array, old.pixel_array)


@pytest.mark.parametrize("way", list(product(permutations(range(3)), (1, -1), (1, -1), (1, -1)))[::5])
def test_any_order_of_axes_is_put_back_into_that_of_each_file(tmp_path, way):
    order, *signs = way
    source = scan(tmp_path / "in", random_slices(3))
    image = read(source)
    matrix, array = image.grid.matrix.copy(), image.array
    for axis, sign in enumerate(signs):
        if sign < 0:
            matrix[:3, 3] += matrix[:3, axis] * (array.shape[axis] - 1)
            matrix[:3, axis] *= -1
            array = np.flip(array, axis)
    matrix[:3, :3] = matrix[:3, list(order)]
    array = array.transpose(order)
    files, back = derive(source, Image(array, Grid(array.shape, matrix_to_tuples(matrix)), "ct"), tmp_path / "out")
    np.testing.assert_array_equal(back.array, image.array)
    for old in sources(source):
        assert files[old.SOPInstanceUID].ImagePositionPatient == old.ImagePositionPatient


def oblique(signs, order):
    """Give a direction of rows and of columns: two axes of a turned frame, in any order and sign."""
    turned = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    return np.concatenate([turned[:, order[0]] * signs[0], turned[:, order[1]] * signs[1]])


@pytest.mark.parametrize("way", list(product(permutations(range(3)), (1, -1), (1, -1)))[::4])
def test_series_of_any_direction_come_back(tmp_path, way):
    order, *signs = way
    directions = oblique(signs, order)
    normal = np.cross(directions[:3], directions[3:])
    positions = [np.array([5.0, -7, 9]) + 3 * k * normal for k in range(3)]
    source = Source(
        made_dicom.series(
            tmp_path / "in", 3, positions=positions, ImageOrientationPatient=[f"{v:.12f}" for v in directions]
        )
    )
    image = read(source)
    wanted = image.array[::-1].copy()
    _, back = derive(source, changed(image, wanted), tmp_path / "out")
    assert back.grid.is_close(image.grid)
    np.testing.assert_array_equal(back.array, wanted)


def test_each_slice_keeps_its_slope_and_its_values_to_half_a_step(tmp_path):
    slopes = [(0.5, 0), (2, -10), (0.25, 100), (8, 0)]
    source = scan(tmp_path / "in", random_slices(low=9000, high=50000), slopes=slopes)
    image = read(source)
    wanted = noisy(image, 3)
    files, back = derive(source, changed(image, wanted), tmp_path / "out")
    assert_within_half_a_step(back, wanted, files.values())
    for old in sources(source):
        assert files[old.SOPInstanceUID].RescaleSlope == old.RescaleSlope


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [(np.uint16, 0, 65536), (np.int16, -32768, 32768), (np.uint8, 0, 256)]
)
def test_values_beyond_the_bits_get_a_slope_of_their_own(tmp_path, dtype, low, high):
    source = scan(tmp_path / "in", random_slices(low=low, high=high, dtype=dtype), slopes=[(0.5, 3)] * 4)
    image = read(source)
    wanted = image.array.astype(np.float32)
    wanted[..., 1] = wanted[..., 1] * 3.7 - 12345
    files, back = derive(source, changed(image, wanted), tmp_path / "out")
    assert_within_half_a_step(back, wanted, files.values())
    assert len({f.RescaleSlope for f in files.values()}) == 2


def test_values_that_lie_too_low_shift_the_intercept_and_stay_integers(tmp_path):
    source = scan(tmp_path / "in", random_slices(), slopes=[(1, -1024)] * 4, BitsStored=12, HighBit=11)
    image = read(source)
    wanted = np.maximum(image.array - 900, -1200)
    wanted[..., 2] = image.array[..., 2]
    files, back = derive(source, changed(image, wanted), tmp_path / "out")
    np.testing.assert_array_equal(back.array, wanted)
    assert back.array.dtype == image.array.dtype
    assert {int(f.RescaleIntercept) for f in files.values()} == {-1024, -1200}


def test_twelve_of_sixteen_bits_become_sixteen_where_they_must(tmp_path):
    source = scan(tmp_path / "in", random_slices(), BitsStored=12, HighBit=11)
    image = read(source)
    assert {f.BitsStored for f in derive(source, image, tmp_path / "same")[0].values()} == {12}
    files, back = derive(source, changed(image, image.array + 500), tmp_path / "out")
    np.testing.assert_array_equal(back.array, image.array + 500)
    assert {(f.BitsStored, f.HighBit) for f in files.values()} == {(16, 15)}
    assert not any("RescaleSlope" in f for f in files.values())


def test_suv_is_written_in_the_unit_of_the_files_and_read_as_the_same_suv(tmp_path):
    source = pet(tmp_path / "in")
    image = read(source)
    assert image.tags["units"] == "SUV"
    wanted = np.abs(noisy(image, 0.1))
    files, back = derive(source, changed(image, wanted), tmp_path / "out")
    assert back.tags["units"] == "SUV"
    factor = float(image.array.max() / max((f.pixel_array * float(f.RescaleSlope)).max() for f in sources(source)))
    assert_within_half_a_step(changed(back, back.array / factor), wanted / factor, files.values())
    assert {(f.Units, float(f.RescaleIntercept), tuple(f.ImageType)) for f in files.values()} == {
        ("BQML", 0.0, ("DERIVED", "PRIMARY"))
    }


def test_counts_with_a_private_factor_are_written_as_suv(tmp_path):
    source = pet(tmp_path / "in", Units="CNTS", WindowCenter="9", WindowWidth="9")
    for path in source.path.glob("*"):
        file = pydicom.dcmread(path)
        file.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0, "DS", "0.000321")
        file.save_as(path)
    image = read(source)
    assert image.tags["units"] == "SUV"
    files, back = derive(source, image, tmp_path / "out")
    assert {(f.Units, f.SUVType, "WindowCenter" in f) for f in files.values()} == {("GML", "BW", False)}
    assert back.tags["units"] == "SUV"
    np.testing.assert_allclose(
        back.array, image.array, rtol=0, atol=0.51 * max(float(f.RescaleSlope) for f in files.values())
    )


def test_pet_below_zero_becomes_signed_with_the_intercept_zero(tmp_path):
    source = scan(tmp_path / "in", random_slices(high=65536), slopes=[(0.5, 0)] * 4, SOPClassUID=PET, Modality="PT")
    image = read(source)
    wanted = image.array.astype(np.float32) - 900
    files, back = derive(source, changed(image, wanted), tmp_path / "out")
    assert_within_half_a_step(back, wanted, files.values())
    assert {(f.PixelRepresentation, float(f.RescaleIntercept)) for f in files.values()} == {(1, 0.0)}


def test_a_missing_slice_has_no_file_and_is_filled_in_again(tmp_path):
    source = scan(tmp_path / "in", random_slices(11))
    gone = next(p for p in source.path.glob("*") if pydicom.dcmread(p).InstanceNumber == 5)
    gone.unlink()
    image = read(source)
    assert image.grid.shape[2] == 11
    files, back = derive(source, changed(image, image.array // 2), tmp_path / "out")
    assert {f.InstanceNumber for f in files.values()} == set(range(1, 12)) - {5}
    np.testing.assert_array_equal(np.delete(back.array, 4, 2), np.delete(image.array // 2, 4, 2))


@pytest.mark.parametrize("kind", ["RLE", "big endian", "implicit"])
def test_other_encodings_are_written_uncompressed(tmp_path, kind):
    syntax = {"big endian": ExplicitVRBigEndian, "implicit": ImplicitVRLittleEndian}.get(kind)
    arrays = random_slices(3, low=-2000, high=2000, dtype=np.int16)
    more = {"SmallestImagePixelValue": -2000, "LossyImageCompression": "00"}
    source = scan(tmp_path / "in", arrays, **more, **({"syntax": syntax} if syntax else {}))
    for path in source.path.glob("*") if kind == "RLE" else ():
        file = pydicom.dcmread(path)
        file.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        file.save_as(path)
    image = read(source)
    files, back = derive(source, changed(image, image.array // 3), tmp_path / "out")
    np.testing.assert_array_equal(back.array, image.array // 3)
    for file in files.values():
        assert file.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert (file.LossyImageCompression, file.SmallestImagePixelValue) == ("00", file.pixel_array.min())


def test_lossy_compression_of_the_source_is_still_told(tmp_path):
    about = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "8",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    source = scan(tmp_path / "in", random_slices(2), **about)
    files, _ = derive(source, read(source), tmp_path / "out")
    assert {(f.LossyImageCompression, str(f.LossyImageCompressionRatio)) for f in files.values()} == {("01", "8")}
    undeclared = made_dicom.made(random_slices(1)[0], PixelData=b"\0" * 10)
    undeclared.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.51"
    said = Dataset()
    declare_lossy_compression(said, tmp_path, undeclared)
    assert (said.LossyImageCompression, said.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert float(said.LossyImageCompressionRatio) == 6.0


def test_padding_stays_where_it_is_true_and_is_dropped_where_it_is_not(tmp_path):
    arrays = random_slices(2, low=10)
    arrays[:, 0] = 3
    source = scan(tmp_path / "in", arrays, PixelPaddingValue=3)
    image = read(source)
    kept, _ = derive(source, changed(image, np.where(image.array == 3, 3, image.array + 9)), tmp_path / "kept")
    assert all(f.PixelPaddingValue == 3 for f in kept.values())
    dropped, _ = derive(source, changed(image, image.array + 1), tmp_path / "dropped")
    assert not any("PixelPaddingValue" in f for f in dropped.values())


def test_private_elements_go_and_overlays_stay_without_what_was_measured_in_them(tmp_path):
    source = scan(tmp_path / "in", random_slices(1))
    (path,) = source.path.glob("*")
    file = pydicom.dcmread(path)
    file.private_block(0x0009, "GEMS_IDEN_01", create=True).add_new(2, "SH", "secret")
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning, inner.CodingSchemeDesignator = "1", "a", "DCM"
    inner.private_block(0x0011, "X", create=True).add_new(1, "LO", "secret")
    file.ProcedureCodeSequence = [inner]
    file.add_new(0x60003000, "OW", b"\1\0\0\0")
    file.add_new(0x60001302, "DS", "5.5")
    file.add_new(0x60020100, "US", 16)
    file.save_as(path)
    files, _ = derive(source, read(source), tmp_path / "out")
    (new,) = files.values()
    assert not any(e.tag.is_private for e in new.iterall())
    assert new.ProcedureCodeSequence[0].CodeMeaning == "a"
    assert (0x6000, 0x3000) in new
    assert (0x6000, 0x1302) not in new
    assert (0x6002, 0x0100) not in new


def test_volumes_at_the_same_place_go_back_to_their_files(tmp_path):
    each = [{"EchoTime": str(10 * (1 + k % 2)), "ImagePositionPatient": [0.0, 0.0, 2.0 * (k // 2)]} for k in range(6)]
    (tmp_path / "in").mkdir()
    for k, (array, own) in enumerate(zip(random_slices(6), each, strict=True)):
        made_dicom.saved(tmp_path / "in" / f"{(k * 5) % 6}.dcm", array, SOPClassUID=MR, Modality="MR", **own)
    source = Source(tmp_path / "in")
    image = read(source)
    assert image.channels == 2
    files, back = derive(source, changed(image, image.array // 2), tmp_path / "out")
    np.testing.assert_array_equal(back.array, image.array // 2)
    for old in sources(source):
        np.testing.assert_array_equal(files[old.SOPInstanceUID].pixel_array, old.pixel_array // 2)


def test_what_was_derived_twice_tells_both_steps_and_refers_to_the_last(tmp_path):
    source = scan(tmp_path / "in", random_slices(1))
    once, _ = derive(source, read(source), tmp_path / "once")
    twice, _ = derive(Source(tmp_path / "once"), read(source), tmp_path / "twice")
    (first,), ((of, last),) = once.values(), twice.items()
    assert of == first.SOPInstanceUID
    assert last.DerivationDescription == f"{first.DerivationDescription}; {first.DerivationDescription}"
    assert len(last.DerivationCodeSequence) == len(last.ContributingEquipmentSequence) == 2


def test_where_one_file_cannot_be_written_none_is_left(tmp_path, monkeypatch):
    source = scan(tmp_path / "in", random_slices(3))
    kept = pydicom.Dataset.save_as
    fails = iter([False, True])
    monkeypatch.setattr(pydicom.Dataset, "save_as", lambda *a, **k: 1 / 0 if next(fails) else kept(*a, **k))
    with pytest.raises(FormatError):
        write_derived_series(tmp_path / "out", read(source), source, derivation="a")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_lone_radiograph_comes_back(tmp_path, photometric):
    path = made_dicom.saved(
        tmp_path / "x.dcm", random_slices(1)[0], Modality="DX", SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1",
        PhotometricInterpretation=photometric, BitsStored=12, HighBit=11, ImagePositionPatient=None,
        ImageOrientationPatient=None,
    )  # fmt: skip
    image = read(path)
    wanted = image.array // 2
    (written,) = write_derived_series(tmp_path / "out", changed(image, wanted), Source(path), derivation="halve")
    np.testing.assert_array_equal(read(written).array, wanted)
    assert pydicom.dcmread(written).PhotometricInterpretation == photometric


def test_a_film_of_8_bits_without_a_place_comes_back(tmp_path):
    arrays = random_slices(3, high=256, dtype=np.uint8)
    path = made_dicom.saved(
        tmp_path / "x.dcm", arrays, Modality="US", SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1", NumberOfFrames=3,
        ImagePositionPatient=None, ImageOrientationPatient=None,
    )  # fmt: skip
    image = read(path)
    (written,) = write_derived_series(
        tmp_path / "out", changed(image, 255 - image.array), Source(path), derivation="negative"
    )
    np.testing.assert_array_equal(pydicom.dcmread(written).pixel_array, 255 - arrays)
    with pytest.raises(FormatError, match="one frame of several"):
        write_derived_series(tmp_path / "no", read(Source(path, ":1")), Source(path, ":1"), derivation="a")


def test_an_enhanced_image_is_one_file_with_its_frames_in_order(tmp_path):
    source = Source(enhanced(tmp_path / "x.dcm"))
    image = read(source)
    wanted = image.array // 2
    wanted[..., 1] = 2 * image.array[..., 1] + 7e4
    (path,) = write_derived_series(tmp_path / "out", changed(image, wanted), source, derivation="a")
    back, file = read(path), pydicom.dcmread(path)
    slopes = [float(g.PixelValueTransformationSequence[0].RescaleSlope) for g in file.PerFrameFunctionalGroupsSequence]
    assert np.abs(back.array - wanted.astype(float)).max() <= max(slopes) / 2
    assert back.grid.is_close(image.grid)
    shared = file.SharedFunctionalGroupsSequence[0]
    assert list(shared.CTImageFrameTypeSequence[0].FrameType) == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    old = pydicom.dcmread(source.path)
    derived = shared.DerivationImageSequence[0]
    assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert file.SourceImageEvidenceSequence[0].ReferencedSeriesSequence[0].SeriesInstanceUID == old.SeriesInstanceUID


def test_an_image_that_does_not_cover_its_source_is_refused(tmp_path):
    source = scan(tmp_path / "in", random_slices(3))
    image = read(source)
    cut = Image(image.array[1:], Grid((5, 5, 3), matrix_to_tuples(image.grid.matrix)), "ct")
    with pytest.raises(FormatError, match="does not cover"):
        write_derived_series(tmp_path / "out", cut, source, derivation="crop")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"StudyInstanceUID": None}, "has no StudyInstanceUID"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "in colour"),
    ],
)
def test_what_has_no_derived_series_is_told(tmp_path, elements, said):
    source = scan(tmp_path / "in", random_slices(1), **elements)
    image = Image(np.zeros((6, 5, 1)), Grid.from_shape((6, 5, 1)))
    with pytest.raises(FormatError, match=said):
        write_derived_series(tmp_path / "out", image, source, derivation="a")
