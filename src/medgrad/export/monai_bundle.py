"""MONAI bundle of a segmentation run, with preparation and inversion by MONAI's own transforms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..answers import Agreement, agreement
from ..data import Case, LabelMap
from ..data.cohorts import Entry
from ..data.formats import read_labels
from ..errors import SettingError, require_package
from ._target import ExportModule, ignore_warnings

NIFTI_SUFFIXES = (".nii", ".nii.gz")


class MonaiBundle:
    """Export target whose bundle runs with MONAI alone, without medgrad.

    Type ``monai.bundle run --config_file configs/inference.json --bundle_root .`` to run it. MONAI resamples,
    and places its windows, slightly differently; so the bundle is run by MONAI itself on the evaluation cases,
    and its labels have to agree with the run's like those of any other export.
    """

    network_file = "models/model.ts"
    backend = "torch_export"

    def write(self, finished: ExportModule, folder: Path) -> None:
        """Write the network as TorchScript, and the two configuration files."""
        monai: Any = require_package("monai", extra="monai")
        if finished.output_names != ("logits",) or finished.manifest["tta_flips"]:
            raise SettingError(
                "A MONAI bundle is written for segmentation without mirrored answers. Export this run with --to onnx."
            )
        inference = make_inference_config(finished.manifest)
        (folder / "models").mkdir()
        (folder / "configs").mkdir()
        with ignore_warnings(), torch.inference_mode():
            torch.jit.trace(finished.module, finished.inputs, check_trace=False).save(str(folder / self.network_file))
        bundle_metadata = make_metadata(finished, monai.__version__)
        for name, content in (("inference", inference), ("metadata", bundle_metadata)):
            (folder / "configs" / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def verify(
        self, folder: Path, cases: Sequence[tuple[Entry, Case]], expected_answers: Sequence[LabelMap]
    ) -> Agreement | None:
        """Predict the NIfTI cases with MONAI, and measure the agreement; None where there are none."""
        pairs = []
        for (entry, _), said in zip(cases, expected_answers, strict=True):
            files = [source.path for source in entry.images.values()]
            if all(str(file).endswith(NIFTI_SUFFIXES) for file in files):
                pairs.append((said, answer_with_monai(folder, files)))
        return agreement(pairs) if pairs else None


def answer_with_monai(folder: Path, files: Sequence[Path]) -> LabelMap:
    """Predict one case with MONAI by the bundle's own configuration."""
    bundle: Any = require_package("monai.bundle", extra="monai")
    out = folder / "answers"
    with ignore_warnings():
        parser = bundle.ConfigParser()
        parser.read_config(str(folder / "configs" / "inference.json"))
        parser["bundle_root"], parser["output_dir"] = str(folder), str(out)
        parser["device"] = "$torch.device('cpu')"
        parser["datalist"] = [{"image": [str(file) for file in files] if len(files) > 1 else str(files[0])}]
        with torch.inference_mode():
            parser.get_parsed_content("run", lazy=True, instantiate=True, eval_expr=True)
    (written,) = out.rglob("*.nii.gz")
    said = read_labels(written)
    written.unlink()
    for place in sorted(out.rglob("*"), reverse=True):
        place.rmdir()
    out.rmdir()
    return LabelMap(said.array.astype(np.uint8), said.grid)


def make_inference_config(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``inference.json``: loading, preparation, inference, inversion and writing."""
    channels = max(1, len(manifest["task"]["channels"]))
    first = "$sorted(p for e in ('nii', 'nii.gz') for p in glob.glob(@dataset_dir + '/*{}.' + e))"
    if channels == 1:
        files = first.format("")[1:]
        datalist = f"$[{{'image': p}} for p in {files}]"
    else:
        files = first.format("_0000")[1:]
        datalist = f"$[{{'image': [p.replace('_0000.', '_%04d.' % c) for c in range({channels})]}} for p in {files}]"
    undo = {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "image",
        "nearest_interp": False,
        "to_tensor": True,
    }
    names = {"output_dir": "@output_dir", "output_postfix": "seg", "separate_folder": False, "resample": False}
    return {
        "imports": ["$import glob", "$import torch", "$import monai"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/answers'",
        "datalist": datalist,
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device)",
        "network": "$@network_def.to(@device).eval()",
        "preprocessing": {"_target_": "Compose", "transforms": monai_transforms(manifest)},
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(manifest["patch"]),
            "sw_batch_size": 1,
            "overlap": manifest["overlap"],
            "mode": "gaussian",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                undo,
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", **names, "output_dtype": "$'uint8'", "print_log": False},
            ],
        },
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "step": "$lambda b: [@postprocessing(i) for i in monai.data.decollate_batch("
        "{**b, 'pred': @inferer(b['image'].to(@device), @network)})]",
        "run": ["$torch.set_grad_enabled(False)", "$[len(@step(b)) for b in @dataloader]"],
    }


def monai_transforms(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return MONAI's transforms for the preparation steps, or raise if a step has no equivalent."""
    chain: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
    ]
    for link in manifest["prepare"]:
        step = matching_transforms(link, len(manifest["task"]["channels"]))
        if step is None:
            raise SettingError(
                f"The run's step {link['name']!r} has no counterpart in MONAI that does the same. Use --to onnx."
            )
        chain += [{**s, "keys": "image"} for s in step]
    return [*chain, {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"}]


def matching_transforms(step: Mapping[str, Any], channels: int) -> list[dict[str, Any]] | None:
    """Return MONAI's transforms that equal a preparation step; None where there are none."""
    from .. import registry

    name = step["name"]
    given = {
        **registry.keyword_defaults(registry.find("prepare", name)),
        **{k: v for k, v in step.items() if k != "name"},
    }
    if name == "reorient":
        return [{"_target_": "Orientationd", "axcodes": given["to"], "labels": None}]
    if name == "common_grid" and channels < 2:
        return []
    if name == "resample":
        spacing = [s or -1.0 for s in given["spacing"]]
        settings = {"mode": given["order"], "padding_mode": "nearest", "align_corners": False, "scale_extent": True}
        return [{"_target_": "Spacingd", "pixdim": spacing, **settings}] if spacing else []
    if name != "normalise" or given["nonzero"] or given["method"] == "scale":
        return None
    if given["method"] == "zscore":
        return [{"_target_": "NormalizeIntensityd", "channel_wise": True}]
    if given["method"] == "none":
        return []
    low, high = (0.0, 255.0) if given["method"] == "uint8" else (given["low"], given["high"])
    scale, mean = (127.5, 127.5) if given["method"] == "uint8" else (max(given["deviation"], 1e-6), given["mean"])
    ends = {"a_min": low, "a_max": high, "b_min": (low - mean) / scale, "b_max": (high - mean) / scale}
    return [{"_target_": "ScaleIntensityRanged", **ends, "clip": given["method"] == "window"}]


def make_metadata(export_module: ExportModule, monai_version: str) -> dict[str, Any]:
    """Return ``metadata.json``."""
    about = export_module.manifest
    labels = ["background", *about["task"]["labels"]]
    shape = {"spatial_shape": list(about["patch"]), "dtype": "float32", "is_patch_data": True}
    channels = about["task"]["channels"] or [f"image {i}" for i in range(about["channels"])]
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20220324.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported by medgrad {about['medgrad']}"},
        "monai_version": monai_version,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"nibabel": version("nibabel")},
        "name": "medgrad segmentation",
        "task": "segmentation",
        "description": f"Labels {', '.join(about['task']['labels'])}. Not a medical device.",
        "authors": "",
        "copyright": "",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "num_channels": about["channels"],
                    "value_range": [],
                    "channel_def": {str(i): name for i, name in enumerate(channels)},
                    **shape,
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(labels),
                    "value_range": [],
                    "channel_def": {str(i): name for i, name in enumerate(labels)},
                    **shape,
                }
            },
        },
    }


THIS = MonaiBundle()
