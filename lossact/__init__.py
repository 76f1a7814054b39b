"""lossact turns claims about neural-network training into statistically tested experiments.

Public names load on first use: importing lossact loads neither torch, lightning, wandb nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossact.claims import (
        Hypothesis,
        Plan,
        Verdict,
        all_of,
        at_least,
        at_most,
        decreases,
        equivalent,
        equivalent_in,
        evaluate,
        exact,
        exceeds,
        faster,
        fastest,
        gap_grows,
        higher,
        highest,
        increases,
        lower,
        lowest,
        map_claim,
        measured,
        not_worse,
        ordering,
        plan,
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
        Best,
        Condition,
        FunctionCondition,
        LightningCondition,
        Loss,
        Measure,
        Metric,
        OfNetwork,
        RecordedRuns,
        Target,
        TorchOptimizer,
        read_runs,
    )
    from lossact.data import Arrays, GeneratedData, ImageFiles, LineImages, RandomImages
    from lossact.errors import LossactError
    from lossact.executors import Executor, RayExecutor
    from lossact.experiment import Experiment, default_compute_config
    from lossact.fingerprint import file_digest
    from lossact.models.config import CNNConfig, MLPConfig
    from lossact.models.factory import ModuleFactory
    from lossact.replication import Replicas, replicate
    from lossact.running.snapshots import Snapshot, record_snapshots
    from lossact.storage import Store
    from lossact.training.compute_config import ComputeConfig

__version__ = "0.2.0"

_ROOMS = {
    "lossact.claims": (
        "at_least",
        "at_most",
        "decreases",
        "equivalent_in",
        "higher",
        "highest",
        "increases",
        "lower",
        "lowest",
        "Hypothesis",
        "Plan",
        "Verdict",
        "all_of",
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
        "plan",
        "reaches",
        "sampled",
        "slowest",
    ),
    "lossact.conditions": (
        "Best",
        "OfNetwork",
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
        "RecordedRuns",
        "SGD",
        "Target",
        "TorchOptimizer",
        "read_runs",
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
    "lossact.fingerprint": ("file_digest",),
    "lossact.models.config": (
        "CNNConfig",
        "MLPConfig",
    ),
    "lossact.models.factory": ("ModuleFactory",),
    "lossact.replication": (
        "Replicas",
        "replicate",
    ),
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
    "Best",
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
    "OfNetwork",
    "Plan",
    "RandomImages",
    "RayExecutor",
    "RecordedRuns",
    "Replicas",
    "Snapshot",
    "Store",
    "Target",
    "TorchOptimizer",
    "Verdict",
    "__version__",
    "all_of",
    "at_least",
    "at_most",
    "decreases",
    "default_compute_config",
    "equivalent",
    "equivalent_in",
    "evaluate",
    "exact",
    "exceeds",
    "faster",
    "fastest",
    "file_digest",
    "gap_grows",
    "higher",
    "highest",
    "increases",
    "lower",
    "lowest",
    "map_claim",
    "measured",
    "not_worse",
    "ordering",
    "plan",
    "reaches",
    "read_runs",
    "record_snapshots",
    "replicate",
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
