"""SNOMED CT codes for region names, and private codes for names without one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

PRIVATE = "99MEDGRAD"
LONGEST_CODE, LONGEST_MEANING = 16, 64


class Code(NamedTuple):
    """A coded concept: value, meaning and coding scheme."""

    value: str
    meaning: str
    scheme: str = "SCT"


class RegionCode(NamedTuple):
    """The codes of a region: category, property type, laterality and anatomic site."""

    category: Code
    property_type: Code
    laterality: Code | None = None
    anatomic_site: Code | None = None


ANATOMY = Code("91723000", "Anatomical Structure")
ABNORMAL = Code("49755003", "Morphologically Abnormal Structure")
TISSUE = Code("85756007", "Tissue")
SIDES: Mapping[str, Code] = {"left": Code("7771000", "Left"), "right": Code("24028007", "Right")}
ORGANS: Mapping[str, Code] = {
    "adrenal": Code("23451007", "Adrenal gland"),
    "amygdala": Code("4958002", "Amygdala"),
    "aorta": Code("15825003", "Aorta"),
    "bladder": Code("89837001", "Bladder"),
    "bone": Code("272673000", "Bone"),
    "bone marrow": Code("14016003", "Bone Marrow"),
    "brain": Code("12738006", "Brain"),
    "breast": Code("76752008", "Breast"),
    "caudate nucleus": Code("11000004", "Caudate Nucleus"),
    "cerebellum": Code("113305005", "Cerebellum"),
    "cerebrospinal fluid": Code("65216001", "Cerebrospinal Fluid"),
    "clavicle": Code("51299004", "Clavicle"),
    "colon": Code("71854001", "Colon"),
    "duodenum": Code("38848004", "Duodenum"),
    "eye": Code("81745001", "Eye"),
    "femur": Code("71341001", "Femur"),
    "gallbladder": Code("28231008", "Gallbladder"),
    "gray matter": Code("389081007", "Gray Matter"),
    "heart": Code("80891009", "Heart"),
    "hepatic vein": Code("8993003", "Hepatic vein"),
    "hip": Code("29836001", "Hip"),
    "hippocampus": Code("5366008", "Hippocampus"),
    "humerus": Code("85050009", "Humerus"),
    "inferior vena cava": Code("64131007", "Inferior vena cava"),
    "kidney": Code("64033007", "Kidney"),
    "larynx": Code("4596009", "Larynx"),
    "left atrium": Code("82471001", "Left atrium"),
    "left ventricle": Code("87878005", "Left ventricle"),
    "lens": Code("78076003", "Lens"),
    "liver": Code("10200004", "Liver"),
    "lung": Code("39607008", "Lung"),
    "lymph node": Code("59441001", "Lymph Node"),
    "mandible": Code("91609006", "Mandible"),
    "mediastinum": Code("72410000", "Mediastinum"),
    "optic nerve": Code("18234004", "optic nerve"),
    "ovary": Code("15497006", "Ovary"),
    "pancreas": Code("15776009", "Pancreas"),
    "parotid gland": Code("45289007", "Parotid gland"),
    "patella": Code("64234005", "Patella"),
    "pelvis": Code("816092008", "Pelvis"),
    "portal vein": Code("32764006", "Portal vein"),
    "prostate": Code("41216001", "Prostate"),
    "pulmonary artery": Code("81040000", "Pulmonary artery"),
    "putamen": Code("89278009", "Putamen"),
    "rectum": Code("34402009", "Rectum"),
    "rib": Code("113197003", "Rib"),
    "right atrium": Code("73829009", "Right atrium"),
    "right ventricle": Code("53085002", "Right ventricle"),
    "sacrum": Code("54735007", "Sacrum"),
    "scapula": Code("79601000", "Scapula"),
    "skin": Code("39937001", "Skin"),
    "skull": Code("89546000", "Skull"),
    "small intestine": Code("30315005", "Small intestine"),
    "spinal cord": Code("2748008", "Spinal cord"),
    "spine": Code("421060004", "Spine"),
    "spleen": Code("78961009", "Spleen"),
    "sternum": Code("56873002", "Sternum"),
    "stomach": Code("69695003", "Stomach"),
    "submandibular gland": Code("54019009", "Submandibular gland"),
    "thalamus": Code("42695009", "Thalamus"),
    "thymus": Code("9875009", "Thymus"),
    "thyroid": Code("69748006", "Thyroid"),
    "tibia": Code("12611008", "Tibia"),
    "trachea": Code("44567001", "Trachea"),
    "esophagus": Code("32849002", "Esophagus"),
    "uterus": Code("35039007", "Uterus"),
    "vertebra": Code("51282000", "Vertebra"),
    "white matter": Code("389080008", "White Matter"),
}
FINDINGS: Mapping[str, Code] = {
    "abscess": Code("44132006", "Abscess"),
    "aneurysm": Code("85659009", "aneurysm"),
    "cancer": Code("108369006", "Tumor"),
    "cyst": Code("367643001", "Cyst"),
    "edema": Code("79654002", "Edema"),
    "hematoma": Code("35566002", "Hematoma"),
    "hemorrhage": Code("50960005", "Hemorrhage"),
    "lesion": Code("52988006", "Lesion"),
    "mass": Code("4147007", "Mass"),
    "metastasis": Code("128462008", "Metastasis"),
    "necrosis": Code("6574001", "Necrosis"),
    "neoplasm": Code("108369006", "Tumor"),
    "nodule": Code("27925004", "Nodule"),
    "pleural effusion": Code("60046008", "Pleural effusion"),
    "pneumothorax": Code("36118008", "Pneumothorax"),
    "thrombus": Code("396339007", "Thrombus"),
    "tumor": Code("108369006", "Tumor"),
}
SPELLINGS = {
    "tumour": "tumor", "oedema": "edema", "haematoma": "hematoma", "haemorrhage": "hemorrhage", "grey": "gray",
    "oesophagus": "esophagus", "metastases": "metastasis", "ovaries": "ovary", "vertebrae": "vertebra",
    "kidneys": "kidney", "lenses": "lens", "masses": "mass", "abscesses": "abscess", "csf": "cerebrospinal fluid",
    "urinary": "", "gland": "", "l": "left", "r": "right", "sx": "left", "dx": "right", "structure": "", "of": "",
    "the": "", "in": "", "and": "",
}  # fmt: skip
GLANDS = ("parotid", "submandibular")


def category_and_type(name: str) -> tuple[Code, Code]:
    """Give the category and type codes of a region name; a private type where no code is known.

    >>> category_and_type("liver_lesion")[1][1], category_and_type("Kidneys")[1][1], category_and_type("label 7")[1]
    ('Lesion', 'Kidney', Code(value='label_7', meaning='label 7', scheme='99MEDGRAD'))
    """
    found = find_region_code(name)
    return found.category, found.property_type


def find_region_code(name: str) -> RegionCode:
    """Find the codes of a region by its name.

    A finding may stand beside unknown words ("tumour core" is a tumour). An organ may not: "liver vessels" are not
    a liver, so they get a private code with the liver as site.

    >>> found = find_region_code("left lung nodule")
    >>> found.property_type.meaning, found.anatomic_site.meaning, found.laterality.meaning
    ('Nodule', 'Lung', 'Left')
    >>> find_region_code("liver vessels").property_type.scheme
    '99MEDGRAD'
    """
    words = normalise_words(name)
    finding, rest = take_longest_phrase(words, FINDINGS)
    organ, rest = take_longest_phrase(rest, ORGANS)
    side, rest = take_longest_phrase(rest, SIDES)
    if finding:
        return RegionCode(ABNORMAL, finding, side, organ)
    if organ and not rest:
        return RegionCode(ANATOMY, organ, side)
    return RegionCode(TISSUE, private_code(name), side, organ)


def normalise_words(name: str) -> list[str]:
    """Split a name into words, singular and in the tables' spelling.

    >>> normalise_words("Lt. grey-matter (2 tumours)")
    ['lt', 'gray', 'matter', '2', 'tumor']
    """
    found = []
    known = {w for table in (ORGANS, FINDINGS, SIDES) for phrase in table for w in phrase.split()}
    for word in re.findall(r"[a-z]+|\d+", name.lower()):
        one = SPELLINGS.get(word, word)
        if one == "" and word == "gland" and any(g in found for g in GLANDS):
            one = "gland"
        if one not in known and one.endswith("s"):
            one = SPELLINGS.get(one[:-1], one[:-1])
        found += one.split()
    return found


def take_longest_phrase(words: list[str], codes: Mapping[str, Code]) -> tuple[Code | None, list[str]]:
    """Find the longest phrase of a table among words; give its code and the remaining words."""
    for phrase in sorted(codes, key=lambda p: -len(p.split())):
        parts = phrase.split()
        for at in range(len(words) - len(parts) + 1):
            if words[at : at + len(parts)] == parts:
                return codes[phrase], words[:at] + words[at + len(parts) :]
    return None, words


def private_code(name: str) -> Code:
    """Make a private code for a name; the same name gives the same code."""
    value = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    if not 0 < len(value) <= LONGEST_CODE or not name.isascii():
        value = "L" + hashlib.sha256(name.encode()).hexdigest()[:12]
    return Code(value, printable_text(name)[:LONGEST_MEANING] or "unnamed", PRIVATE)


def printable_text(text: str) -> str:
    """Remove backslashes and unprintable characters, which DICOM text values must not have."""
    return "".join(c if c.isprintable() and c != "\\" else " " for c in text).strip()


def report_uncoded_names(names: Iterable[str]) -> tuple[str, ...]:
    """Give a message on the names without a SNOMED CT code, or none.

    >>> report_uncoded_names(["liver", "blob"])
    ("No code of SNOMED CT is known for 'blob': it stands under a code of our own (99MEDGRAD).",)
    """
    lacking = [n for n in names if find_region_code(n).property_type.scheme == PRIVATE]
    if not lacking:
        return ()
    every = ", ".join(repr(n) for n in lacking[:5]) + (" and others" if len(lacking) > 5 else "")
    return (f"No code of SNOMED CT is known for {every}: it stands under a code of our own ({PRIVATE}).",)
