"""Things are called by the field's own words: those that were ours alone do not come back."""

import ast
import inspect
from pathlib import Path

from medgrad import registry

ROOT = Path(__file__).parents[1] / "src" / "medgrad"
NAMES = [
    "_alike", "_drawn", "_words", "above", "abreast", "across", "again", "agree", "ahead", "Ailing", "aim", "aimed",
    "alarm", "among", "anneal", "Answered", "answered_by", "answering", "apart", "around", "Around", "arrays", "Arrays",
    "as_wide", "ask", "Asking", "assess", "Average", "averaged", "back", "balance", "bear", "begin", "begin_with",
    "begun", "bell", "bend", "bent", "beside", "blind", "born", "borne", "Both", "boxed", "boxes", "boxes_of", "brief",
    "by_order", "calmer", "centred", "Chances", "chances", "Child", "choose", "claim", "claims", "columns", "confirm",
    "controls", "cooled", "cover", "deep", "descend", "detection", "Drawn", "drawn_more", "draws", "each", "effort",
    "engines", "ENOUGH_MM", "entrant", "everything", "Extent", "facts", "failed", "Fault", "features", "files", "final",
    "find_places", "finest", "fingerprint", "Finished", "fixed", "flips", "floor", "folding", "foreground", "forest",
    "Found", "fuse", "gather", "gives", "giving_back", "Goal", "goal", "goes_on", "Grey", "ground", "Ground", "growth",
    "guarded", "heal", "health", "hear", "heed", "held", "home_of", "in_short", "in_windows", "Journey",
    "judge_quickly", "kept", "kept_alive", "kept_inside", "labelled", "laid_on", "largest", "leads", "learn",
    "learn_well", "Learner", "least", "leasts", "leaving", "lessened", "like", "likeness", "looked_up", "lost",
    "lowest", "lump", "Maker", "Mean", "meant", "measured", "memory", "mend", "Miss", "miss", "Mixed", "most", "moves",
    "multiple", "narrowed", "near", "NUMBERS", "on", "only", "overlap", "owners", "pace", "Part", "picture", "pictures",
    "pixels", "Place", "placed", "planes", "prepare_field", "Price", "proven", "pruned", "Pupil", "put", "qualify",
    "ram", "rates", "reach", "Reading", "ready", "record", "refuse_strangers", "refuse_what_cannot_be", "region",
    "region_align", "register_by", "restore_order", "rough", "rows", "rungs", "said", "Said", "search", "settle",
    "shallower", "share", "Sheet", "shifts", "shown_best", "shrink", "slimmest", "slopes", "Sound", "sound", "sources",
    "sparing", "spread", "stages", "start", "steady", "still", "stitched", "strength", "surer", "surprise", "table",
    "Taken", "taken", "Tally", "taught", "team", "Teller", "TENSORS", "Term", "thinned", "together", "Told", "told",
    "told_as_damaged", "travel", "Tried", "turns", "twins", "uncut", "unlike", "warm", "Watch", "watch", "watched",
    "Way", "way", "whole", "window", "within", "without_nan", "works",
]  # fmt: skip
"""Functions, classes and constants that somebody who knows the field could not guess."""
FILES = [
    "_alike", "_controls", "_curvature", "_damage", "_dicom_each", "_dicom_maker", "_finish", "_ground", "_html",
    "_journey", "_marks", "_narrow", "_options", "_walk", "agree", "agreement", "ahead", "aligned", "anneal", "apply",
    "arrays", "assess", "averaged", "beside", "binary", "boxes_of", "breath", "by_artefact", "chances", "choose",
    "convolutions", "counting", "decisions", "dice_entropy", "entrant", "extent", "fastest", "features", "file_memo",
    "fingerprint", "flow", "folding", "forest", "goal", "growth", "heal", "health", "home", "inverse_mm", "ladder",
    "largest", "learn", "likelihood", "likeness", "moved_dice", "over_seeds", "overlay", "pace", "picture", "planes",
    "pruned", "put", "put_dicom", "quantify", "ram", "rate_finder", "rates", "register_by", "regularity", "retina",
    "runtime", "siblings", "sound", "sparing", "spread", "step_plan", "takes", "taught", "team", "teller", "two_stage",
    "watch", "whole",
]  # fmt: skip
PARAMETERS = [
    "ailing", "entrant", "ground", "heard", "lessened", "maker", "marks", "most", "said_of", "sparing", "surprise",
    "twins", "warmth",
]  # fmt: skip
"""Parameters that hide what they are."""
OPTIONS = [
    "as", "controls", "all-controls", "floor", "from", "heal", "least", "multiple", "on", "only", "reach", "search",
    "taught", "turns", "within",
]  # fmt: skip


def defined(path: Path) -> set[str]:
    """Give what a file defines: functions, classes, methods and constants."""
    tree = ast.parse(path.read_text())
    names = {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    constants = (t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets)
    return names | {t.id for t in constants if isinstance(t, ast.Name)}


def test_no_function_or_class_has_a_name_that_only_we_know():
    found = {path.relative_to(ROOT): defined(path) & set(NAMES) for path in sorted(ROOT.rglob("*.py"))}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_file_or_folder_has_one():
    files = [p.relative_to(ROOT) for p in sorted(ROOT.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
    assert [p for p in files if {Path(part).stem for part in p.parts} & set(FILES)] == []


def test_no_option_has_one():
    for verb in registry.names("apps.verbs"):
        for name, parameter in inspect.signature(registry.find("apps.verbs", verb), eval_str=True).parameters.items():
            declared = [w for o in getattr(parameter.annotation, "__metadata__", ()) for w in o.param_decls or ()]
            words = {w.lstrip("-") for w in declared} or {name.replace("_", "-")}
            assert not words & set(OPTIONS), f"{verb} --{name}"


def test_no_parameter_has_one():
    found = {
        f"{path.relative_to(ROOT)}: {function.name}({name})"
        for path in sorted(ROOT.rglob("*.py"))
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for name in {a.arg for a in (*function.args.args, *function.args.kwonlyargs)} & set(PARAMETERS)
    }
    assert found == set()
