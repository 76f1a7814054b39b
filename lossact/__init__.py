"""lossact turns claims about neural-network training into statistically tested experiments.

Public names load on first use: importing lossact loads neither torch, lightning, wandb nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossact.claims import (
        Hypothesis,
        Verdict,
        equivalent,
        evaluate,
        exact,
        exceeds,
        faster,
        fastest,
        gap_grows,
        map_claim,
        measured,
        not_worse,
        ordering,
        reaches,
        sampled,
        slowest,
    )
    from lossact.data import Arrays, Drawn, ImageFiles, LineImages, RandomImages
    from lossact.errors import LossactError
    from lossact.experiment import (
        SGD,
        Accuracy,
        Adam,
        AdamW,
        Condition,
        Executor,
        Experiment,
        FunctionCondition,
        LightningCondition,
        Loss,
        Metric,
        RayExecutor,
        Store,
        Trainable,
        default_setting,
    )
    from lossact.models.config import CNNConfig, MLPConfig
    from lossact.models.factory import ModuleFactory

__version__ = "0.1.0"

_ROOMS = {
    "lossact.claims": (
        "Hypothesis",
        "Verdict",
        "equivalent",
        "evaluate",
        "exact",
        "exceeds",
        "faster",
        "fastest",
        "gap_grows",
        "map_claim",
        "measured",
        "not_worse",
        "ordering",
        "reaches",
        "sampled",
        "slowest",
    ),
    "lossact.data": ("Arrays", "Drawn", "ImageFiles", "LineImages", "RandomImages"),
    "lossact.errors": ("LossactError",),
    "lossact.experiment": (
        "SGD",
        "Accuracy",
        "Adam",
        "AdamW",
        "Condition",
        "Executor",
        "Experiment",
        "FunctionCondition",
        "LightningCondition",
        "Loss",
        "Metric",
        "RayExecutor",
        "Store",
        "Trainable",
        "default_setting",
    ),
    "lossact.models.config": ("CNNConfig", "MLPConfig"),
    "lossact.models.factory": ("ModuleFactory",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "SGD",
    "Accuracy",
    "Adam",
    "AdamW",
    "Arrays",
    "CNNConfig",
    "Condition",
    "Drawn",
    "Executor",
    "Experiment",
    "FunctionCondition",
    "Hypothesis",
    "ImageFiles",
    "LightningCondition",
    "LineImages",
    "Loss",
    "LossactError",
    "MLPConfig",
    "Metric",
    "ModuleFactory",
    "RandomImages",
    "RayExecutor",
    "Store",
    "Trainable",
    "Verdict",
    "__version__",
    "default_setting",
    "equivalent",
    "evaluate",
    "exact",
    "exceeds",
    "faster",
    "fastest",
    "gap_grows",
    "map_claim",
    "measured",
    "not_worse",
    "ordering",
    "reaches",
    "sampled",
    "slowest",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lossact' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
