"""What regions are called in SNOMED CT, as far as their names tell."""

from __future__ import annotations

import re
from collections.abc import Mapping

Code = tuple[str, str]
"""A SNOMED CT code and its meaning."""

ANATOMY: Code = ("123037004", "Anatomical Structure")
ABNORMAL: Code = ("49755003", "Morphologically Altered Structure")
TISSUE: Code = ("85756007", "Tissue")
ORGANS: Mapping[str, Code] = {
    "lung": ("39607008", "Lung"),
    "heart": ("80891009", "Heart"),
    "liver": ("10200004", "Liver"),
    "spleen": ("78961009", "Spleen"),
    "kidney": ("64033007", "Kidney"),
    "spine": ("421060004", "Vertebral column"),
    "pancreas": ("15776009", "Pancreas"),
    "stomach": ("69695003", "Stomach"),
    "brain": ("12738006", "Brain"),
    "prostate": ("41216001", "Prostate"),
    "bladder": ("89837001", "Urinary bladder"),
    "aorta": ("15825003", "Aorta"),
    "bone": ("272673000", "Bone"),
    "colon": ("71854001", "Colon"),
}
FINDINGS: Mapping[str, Code] = {
    "nodule": ("27925004", "Nodule"),
    "mass": ("4147007", "Mass"),
    "tumor": ("108369006", "Tumor"),
    "tumour": ("108369006", "Tumor"),
    "neoplasm": ("108369006", "Tumor"),
    "cancer": ("108369006", "Tumor"),
    "lesion": ("52988006", "Lesion"),
    "edema": ("79654002", "Edema"),
    "oedema": ("79654002", "Edema"),
    "necrosis": ("6574001", "Necrosis"),
}


def codes_of(name: str) -> tuple[Code, Code]:
    """Give the category and the type of a region; tissue of a body where its name tells no more.

    >>> codes_of("liver_lesion")[1][1], codes_of("Kidneys")[1][1], codes_of("label 7")[1][1]
    ('Lesion', 'Kidney', 'Tissue')
    """
    words = {w.removesuffix("s") for w in re.split(r"[^a-z]+", name.lower())} | set(re.split(r"[^a-z]+", name.lower()))
    for known, category in ((FINDINGS, ABNORMAL), (ORGANS, ANATOMY)):
        for word, code in known.items():
            if word in words:
                return category, code
    return ANATOMY, TISSUE
