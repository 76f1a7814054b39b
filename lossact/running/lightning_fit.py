"""Fit a user's LightningModule for one replica, as Lightning does."""

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils import _pytree as pytree

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.replicas.random_streams import rng_state
from lossact.running.counted_steps import count_draws
from lossact.running.fit_trainer import make_trainer, set_max_epochs
from lossact.running.fit_watcher import FitWatcher
from lossact.running.logged_names import check_logged
from lossact.running.module_making import check_generators, check_when_made, make_data, make_module
from lossact.running.outcome import ReplicaOutcome
from lossact.running.run_digest import are_finite, are_telling, run_digest
from lossact.training.compute_config import ComputeConfig

EARLY_STOPPING = "Early stopping conditioned on metric"  # the error of a callback whose metric nobody logs
LIGHTNINGS_ERRORS = (EARLY_STOPPING, "Training with multiple optimizers")  # RuntimeErrors that say what to do


def fit_module(
    condition: LightningCondition, compute_config: ComputeConfig, draws_for: tuple[int, int] | None
) -> ReplicaOutcome:
    """Fit the module of a condition once; the generators of the process have been seeded.

    Args:
        condition: what to train.
        compute_config: the device and precision.
        draws_for: the experiment's seed and the replica that its steps draw for; None for draws of a plain fit.

    Returns:
        the outcome of the replica.

    Raises:
        InputError: the module, its data, its logged metrics or the Trainer's options are not what they must be.
    """
    module = make_module(condition)
    if draws_for is not None:
        count_draws(module, *draws_for)
    data = make_data(condition) if condition.data is not None else None
    watcher = FitWatcher(condition)
    trainer = make_trainer(condition, compute_config, watcher)
    if "max_epochs" not in condition.trainer:
        set_max_epochs(module, trainer, condition)
    source = {"datamodule": data} if isinstance(data, LightningDataModule) else {"train_dataloaders": data}
    if data is None or isinstance(data, LightningDataModule):
        check_when_made(condition, data or module)
    else:
        check_generators(condition, pytree.tree_leaves(data))
    try:
        trainer.fit(module, **source)
    except MisconfigurationException as error:
        raise InputError(f"{condition}: {error}") from None
    except RuntimeError as error:
        if not str(error).startswith(LIGHTNINGS_ERRORS):
            raise
        raise InputError(f"{condition}: {error}") from None
    if module.automatic_optimization and watcher.steps is None and not watcher.went_backward:
        raise InputError(f"{condition}: training_step returned no loss in {watcher.updates} updates; return one")
    logged = trainer.callback_metrics
    check_logged(condition, logged, watcher.updates, has_metric=watcher.latest is not None)
    values = watcher.best.values(logged)
    last = [float(logged[name]) for name in condition.logged_measures]  # of a run that diverged no value counts
    diverged = watcher.steps is None and watcher.latest is not None and not np.isfinite(watcher.latest)
    diverged = diverged or not all(map(np.isfinite, last))
    if watcher.steps is None or values:  # weights count, though a metric of NaN may be finite, as an accuracy is
        diverged = diverged or not are_finite(module.parameters())
    return ReplicaOutcome(watcher.steps, diverged, _digest(module, watcher), values)


def _digest(module: LightningModule, watcher: FitWatcher) -> int:
    """Digest the values of the metric and the weights after the fit."""
    tensors = [(name, value) for name, value in module.state_dict().items() if isinstance(value, Tensor)]
    contents = [(name, value.detach().cpu().to_dense().reshape(-1)) for name, value in tensors]
    finite = all(bool(value.isfinite().all()) for _, value in contents)
    parts = [part for name, value in contents for part in (name, _to_bytes(value))]
    # Weights that are not finite are equal in runs that differ; torch's generator then says whether the seed was used.
    telling = finite and are_telling(tensor for tensor in module.parameters() if tensor.requires_grad)
    state = b"" if finite else rng_state().torch.numpy()
    return run_digest(watcher.steps, watcher.history, *parts, state, is_unique=telling)


def _to_bytes(values: Tensor) -> bytes:
    """Return the bits of a flat tensor of any type."""
    return values.contiguous().view(torch.uint8).numpy().tobytes() if values.numel() else b""
