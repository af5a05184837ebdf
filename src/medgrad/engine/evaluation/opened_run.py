"""An opened run: it answers about images in memory or in files, and is evaluated on cases with their truth."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from ...data import Case, Image, Source
from ...data.cohorts import Cohort, Entry
from ...data.cohorts.layouts import recognise
from ...data.run_files import read_record
from ...errors import FormatError, MedgradError, SettingError
from ...inference.input_check import check_case
from ...inference.pipeline.inputs import find_inputs, is_one_input
from ...report import write as write_report
from ...report.figures import metrics_as_html
from ...tasks import Task
from ..progress import Progress
from ..runs import run as run_files
from ..runs.recipe import Recipe
from ..runs.run import TrainedRun
from .evaluate import Evaluation
from .evaluate_run import evaluate_run, hints_of
from .infer import answer_case
from .predict import predict_with_run


@dataclass(frozen=True)
class OpenedRun:
    """A run with its weights loaded. ``networks`` holds one network, or one for each fold."""

    folder: Path
    trained: TrainedRun = field(repr=False)

    @property
    def task(self) -> Task:
        """The task, with its labels and settings."""
        return self.trained.task

    @property
    def recipe(self) -> Recipe:
        """The recipe that the run was trained by."""
        return self.trained.recipe

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The trained networks, ready for inference."""
        return self.trained.networks

    def predict(
        self, source: Path | str | Image | Case, *, out: Path | str | None = None, file_format: str = ""
    ) -> Any:
        """Answer about an image, a case, one file or DICOM series, or a whole folder, as ``medgrad predict`` does.

        An image, a case and one input give their answer; a folder of several and a table of rows give a dictionary from
        the id of each case to its answer. Every answer lies on the grid of its image. What in a folder cannot be
        answered about is left out with a warning. With ``out`` the answers of files are written too, in the format of
        their images or in ``file_format``.
        """
        if isinstance(source, (Image, Case)):
            if out is not None or file_format:
                raise SettingError(
                    "What is in memory has no file whose format its answer could take. Leave out and file_format out, "
                    "and use medgrad.write."
                )
            return self.predict_case(source)
        self.task.check_predict()
        return self.predict_files(Path(source), None if out is None else Path(out), file_format)

    def predict_case(self, source: Image | Case) -> Any:
        """Answer about an image or a case in memory; a truth in the case is not used."""
        name = (self.task.channels or ("image",))[0]
        case = source if isinstance(source, Case) else Case("image", {name: source})
        missing = [c for c in self.task.channels if c not in case.images]
        if missing:
            raise FormatError(
                f"The run takes the images {', '.join(self.task.channels)} of a case, but {', '.join(missing)} did not "
                "come. Give a Case with all of them."
            )
        if self.trained.input_spec is not None:
            sources = {name: Source(Path(f"{case.id}/{name}")) for name in case.images}
            check_case(self.trained.input_spec, case, Entry(case.id, sources))
        return answer_case(self.trained, case)

    def predict_files(self, path: Path, out: Path | None, file_format: str) -> Any:
        """Answer about one file or series, or give a dictionary of answers for a folder or a table."""
        ids = [entry.id for entry in find_inputs(path, self.task.channels)]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise FormatError(
                f"{str(path)!r} holds more than one image called {twice[0]!r}. Put them into two folders."
            )
        if out is not None and out.resolve() == (path if path.is_dir() else path.parent).resolve():
            raise SettingError(
                f"out is {str(out)!r}, where the input lies, which is left as it is. Name another folder."
            )
        found = list(predict_with_run(self.trained, path, out, file_format=file_format))
        answers = {each.case_id: each.answer for each in found if not each.failure_reason}
        failed = [f"{each.source}: {each.failure_reason}" for each in found if each.failure_reason]
        if not answers:
            raise MedgradError(f"No answer could be given: {failed[0]}")
        if failed:
            warnings.warn(f"{len(failed)} of {len(found)} inputs have no answer. {' '.join(failed)}", stacklevel=3)
        return answers[ids[0]] if is_one_input(path) else answers

    def evaluate(
        self,
        cases: Path | str | Cohort,
        out: Path | str | None = None,
        *,
        split: str = "all",
        progress: Progress | None = None,
    ) -> Evaluation:
        """Judge the run on a folder of cases with their truth, or on one split of it, as ``medgrad evaluate`` does.

        Gives metrics with 95 % intervals and a row for each case; with ``out`` they are written there with a report.
        """
        cohort = cases if isinstance(cases, Cohort) else recognise(Path(cases), hints_of(self.task))
        if out is None:
            with TemporaryDirectory() as folder:
                return evaluate_run(self.trained, cohort, folder, split=split, progress=progress)
        for path in (self.folder, cohort.root):
            if Path(out).resolve() == path.resolve():
                raise SettingError(f"out is {str(out)!r}, which is an input and left as it is. Name another folder.")
        evaluation = evaluate_run(self.trained, cohort, out, split=split, progress=progress)
        write_report(out)
        return evaluation

    def _repr_html_(self) -> str:
        """Task, labels and the metrics of the validation with their intervals, for a notebook."""
        labels = ", ".join(getattr(self.task, "labels", ()))
        networks = f"{len(self.networks)} networks" if len(self.networks) > 1 else "one network"
        about = f"{self.task.kind} in {self.task.dims}D, {self.recipe.model.get('name', '')}, {networks}"
        head = f"<p><b>{escape(str(self.folder))}</b>: {escape(about)}</p>"
        if labels:
            head += f"<p>labels: {escape(labels)}</p>"
        return head + metrics_as_html(read_metrics(self.folder))


def read_metrics(folder: Path) -> Mapping[str, Any]:
    """Read the metrics of a run's ``evaluation.json``; none before it is evaluated."""
    return dict(read_record(folder / "evaluation.json").get("metrics", {}))


def open_run(folder: Path | str, *, device: str | None = None) -> OpenedRun:
    """Open a run that ``fit`` wrote: read its recipe, and load its best weights onto a device."""
    return OpenedRun(Path(folder), run_files.open_run(folder, device=device))
