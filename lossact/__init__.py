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
    from lossact.conditions import (
        SGD,
        Accuracy,
        Adam,
        AdamW,
        BaseCondition,
        Condition,
        FunctionCondition,
        LightningCondition,
        Loss,
        Measure,
        Metric,
        Target,
        TorchOptimizer,
    )
    from lossact.data import Arrays, GeneratedData, ImageFiles, LineImages, RandomImages
    from lossact.errors import LossactError
    from lossact.executors import Executor, RayExecutor
    from lossact.experiment import Experiment, default_compute_config
    from lossact.models.config import CNNConfig, MLPConfig
    from lossact.models.factory import ModuleFactory
    from lossact.running.snapshots import Snapshot, record_snapshots
    from lossact.storage import Store
    from lossact.training.compute_config import ComputeConfig

__version__ = "0.2.0"

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
    "lossact.conditions": (
        "Accuracy",
        "Adam",
        "AdamW",
        "BaseCondition",
        "Condition",
        "FunctionCondition",
        "LightningCondition",
        "Loss",
        "Measure",
        "Metric",
        "SGD",
        "Target",
        "TorchOptimizer",
    ),
    "lossact.data": (
        "Arrays",
        "GeneratedData",
        "ImageFiles",
        "LineImages",
        "RandomImages",
    ),
    "lossact.errors": ("LossactError",),
    "lossact.executors": (
        "Executor",
        "RayExecutor",
    ),
    "lossact.experiment": (
        "Experiment",
        "default_compute_config",
    ),
    "lossact.models.config": (
        "CNNConfig",
        "MLPConfig",
    ),
    "lossact.models.factory": ("ModuleFactory",),
    "lossact.running.snapshots": (
        "Snapshot",
        "record_snapshots",
    ),
    "lossact.storage": ("Store",),
    "lossact.training.compute_config": ("ComputeConfig",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}
_RENAMED = {
    "Drawn": "GeneratedData",
    "Trainable": "BaseCondition",
    "default_setting": "default_compute_config",
}

__all__ = [
    "SGD",
    "Accuracy",
    "Adam",
    "AdamW",
    "Arrays",
    "BaseCondition",
    "CNNConfig",
    "ComputeConfig",
    "Condition",
    "Executor",
    "Experiment",
    "FunctionCondition",
    "GeneratedData",
    "Hypothesis",
    "ImageFiles",
    "LightningCondition",
    "LineImages",
    "Loss",
    "LossactError",
    "MLPConfig",
    "Measure",
    "Metric",
    "ModuleFactory",
    "RandomImages",
    "RayExecutor",
    "Snapshot",
    "Store",
    "Target",
    "TorchOptimizer",
    "Verdict",
    "__version__",
    "default_compute_config",
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
    "record_snapshots",
    "sampled",
    "slowest",
]


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        from lossact.errors import InputError

        raise InputError(f"lossact.{name} is called lossact.{_RENAMED[name]} since 0.2; use the new name")
    if name not in _HOMES:
        raise AttributeError(f"module 'lossact' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
