"""Where no layout fits, the nearest is named, with what is missing and what to add."""

import numpy as np
import pytest
from PIL import Image as Pillow

from medgrad.data import Grid, Image
from medgrad.data.cohorts.layouts import NotRecognisedError, recognise
from medgrad.data.formats import write


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 16), dtype=np.uint8)).save(path)


def only_pictures(root):
    for i in range(6):
        picture(root / f"p{i}.png", i)


def with_texts(root):
    only_pictures(root)
    for i in range(6):
        (root / f"p{i}.txt").write_text("words about it\n")


def with_a_bare_table(root):
    only_pictures(root)
    (root / "list.csv").write_text("file,age\n" + "".join(f"p{i}.png,{i}\n" for i in range(6)))


def with_another_table(root):
    only_pictures(root)
    (root / "list.csv").write_text("file,class\n" + "".join(f"scan{i}.png,{'ab'[i % 2]}\n" for i in range(6)))


def with_other_names(root):
    for i in range(6):
        picture(root / "images" / f"p{i}.png", i)
        picture(root / "masks" / f"q{i * 7 + 3}x{i}.png", i)


def with_strange_xml(root):
    only_pictures(root)
    for i in range(6):
        (root / f"p{i}.xml").write_text("<a></a>")


def without_labels(root):
    for i in range(3):
        write(root / "imagesTr" / f"v{i}_0000.nii.gz", Image(np.ones((4, 4, 4), np.uint8), Grid.from_shape((4, 4, 4))))
        write(root / "imagesTs" / f"v{i}_0000.nii.gz", Image(np.ones((4, 4, 4), np.uint8), Grid.from_shape((4, 4, 4))))


def few(root):
    for name in ("benign", "malignant"):
        picture(root / name / "a.png")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            only_pictures,
            "'parallel_folders', 'table' and 'class_folders', but nothing tells what the images show. Add masks",
        ),
        (with_texts, "is 'points': its text files, such as 'p0.txt', hold no points. Write"),
        (with_a_bare_table, "is 'image_table': list.csv names files, but has no column of classes or masks"),
        (with_another_table, "is 'image_table': no file that the column 'file' of list.csv names is here"),
        (
            with_other_names,
            "is 'parallel_folders': the files in the folders 'images', 'masks' do not pair up by name.",
        ),
        (with_strange_xml, "is 'voc': its XML files do not draw boxes"),
        (without_labels, "is 'nnunet': it has imagesTr, but no labelsTr. Put"),
        (few, "is 'class_folders': 2 folders for 2 images"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_the_nearest_layout_says_what_is_missing(make, said, tmp_path):
    make(tmp_path)
    with pytest.raises(NotRecognisedError) as reason:
        recognise(tmp_path)
    assert said in str(reason.value)
    assert "holds no images" not in str(reason.value)
    assert "\n" not in str(reason.value)


def test_an_empty_folder_a_folder_of_other_things_and_one_image_are_told_apart(tmp_path):
    for name in ("empty", "films"):
        (tmp_path / name).mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"x")
    picture(tmp_path / "one.png")
    for name, said in (("empty", "is empty"), ("films", "holds 1 .mp4"), ("one.png", "is one image, not a set")):
        with pytest.raises(NotRecognisedError, match=said):
            recognise(tmp_path / name)
