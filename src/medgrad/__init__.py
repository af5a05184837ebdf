"""medgrad: gradient methods for medical images.

The public names load when they are first touched, so importing this brings no torch.
"""

from importlib import import_module
from typing import Any

from .version import VERSION as __version__  # noqa: N811  (python's own name for it)

PUBLIC = {
    "Case": "data",
    "Cohort": "data.cohorts",
    "Grid": "data",
    "Image": "data",
    "LabelMap": "data",
    "Scores": "data",
    "read": "data.formats",
    "write": "data.formats",
    "recognise": "data.cohorts.layouts",
    "transform": "apps.verbs.transform",
    "compare": "apps.verbs.compare",
    "demo": "apps.verbs.demo",
    "evaluate": "apps.verbs.evaluate",
    "fit": "apps.verbs.fit",
    "look": "apps.verbs.look",
    "plan": "apps.verbs.plan",
    "predict": "apps.verbs.predict",
    "prune": "apps.verbs.prune",
    "race": "apps.verbs.race",
    "register": "apps.verbs.register",
}

__all__ = ["__version__", *PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
