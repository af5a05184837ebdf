"""medgrad: gradient methods for medical images.

The public names load when they are first touched, so importing this brings no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import VERSION as __version__  # noqa: N811  (python's own name for it)

PUBLIC = {
    "Boxes": "data",
    "Case": "data",
    "Cohort": "data.cohorts",
    "Deformation": "data",
    "Evaluation": "engine.evaluation.evaluate",
    "Grid": "data",
    "Image": "data",
    "LabelMap": "data",
    "Landmarks": "data",
    "MedgradError": "errors",
    "OpenedRun": "engine.evaluation.opened_run",
    "Pair": "data",
    "ProbabilityMaps": "data",
    "RegistrationResult": "registration.register",
    "Scores": "data",
    "Task": "tasks",
    "build_gradients": "descent.gradients",
    "compare": "apps.verbs.compare",
    "demo": "apps.verbs.demo",
    "differentiable_output": "engine.evaluation.differentiable_output",
    "evaluate": "apps.verbs.evaluate",
    "fit": "apps.verbs.fit",
    "look": "apps.verbs.look",
    "make": "apps.verbs.make",
    "open_run": "engine.evaluation.opened_run",
    "plan": "apps.verbs.plan",
    "predict": "apps.verbs.predict",
    "process": "apps.verbs.process",
    "prune": "apps.verbs.prune",
    "race": "apps.verbs.race",
    "read": "data.formats",
    "read_labels": "data.formats",
    "read_landmarks": "data.formats",
    "recognise": "data.cohorts.layouts",
    "register": "apps.verbs.register",
    "stack_samples": "tasks",
    "train": "engine.training.loop",
    "transform": "apps.verbs.transform",
    "write": "data.formats",
}
"""The module of each public name."""

MODULES = ("losses", "metrics", "models", "registry", "tasks")
"""Modules that are public themselves."""

__all__ = ["__version__", *MODULES, *PUBLIC]

if TYPE_CHECKING:
    from . import losses as losses
    from . import metrics as metrics
    from . import models as models
    from . import registry as registry
    from . import tasks as tasks
    from .apps.verbs.compare import compare as compare
    from .apps.verbs.demo import demo as demo
    from .apps.verbs.evaluate import evaluate as evaluate
    from .apps.verbs.fit import fit as fit
    from .apps.verbs.look import look as look
    from .apps.verbs.make import make as make
    from .apps.verbs.plan import plan as plan
    from .apps.verbs.predict import predict as predict
    from .apps.verbs.process import process as process
    from .apps.verbs.prune import prune as prune
    from .apps.verbs.race import race as race
    from .apps.verbs.register import register as register
    from .apps.verbs.transform import transform as transform
    from .data import Boxes as Boxes
    from .data import Case as Case
    from .data import Deformation as Deformation
    from .data import Grid as Grid
    from .data import Image as Image
    from .data import LabelMap as LabelMap
    from .data import Landmarks as Landmarks
    from .data import Pair as Pair
    from .data import ProbabilityMaps as ProbabilityMaps
    from .data import Scores as Scores
    from .data.cohorts import Cohort as Cohort
    from .data.cohorts.layouts import recognise as recognise
    from .data.formats import read as read
    from .data.formats import read_labels as read_labels
    from .data.formats import read_landmarks as read_landmarks
    from .data.formats import write as write
    from .descent.gradients import build_gradients as build_gradients
    from .engine.evaluation.differentiable_output import differentiable_output as differentiable_output
    from .engine.evaluation.evaluate import Evaluation as Evaluation
    from .engine.evaluation.opened_run import OpenedRun as OpenedRun
    from .engine.evaluation.opened_run import open_run as open_run
    from .engine.training.loop import train as train
    from .errors import MedgradError as MedgradError
    from .registration.register import RegistrationResult as RegistrationResult
    from .tasks import Task as Task
    from .tasks import stack_samples as stack_samples
else:

    def __getattr__(name: str) -> Any:
        if name in MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
