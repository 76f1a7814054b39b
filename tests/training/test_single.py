from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lossact import (
    SGD,
    Accuracy,
    Adam,
    AdamW,
    Condition,
    Experiment,
    GeneratedData,
    LineImages,
    Loss,
    Store,
)
from lossact.models import CNNConfig
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.running.training_module import training_module
from lossact.training.compute_config import ComputeConfig
from lossact.training.single import SingleNetworkModule
from lossact.training.stacked import StackedReplicasModule
from tests.conftest import PAIRS, report_condition
from tests.replicas.test_stacked_mlp import train_alone

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch"),
]
DOUBLE = ComputeConfig(precision="64-true")


def trainer(**flags: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return Trainer(**{"accelerator": "cpu", "max_epochs": 1, "min_epochs": 0, "logger": False, **quiet, **flags})


def fitted(condition: Condition, replicas: range, **flags: Any) -> Any:
    module = training_module(condition, 0, replicas, precision="64-true")
    trainer(precision="64-true", **flags).fit(module)
    return module


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_a_single_network_equals_the_plain_loop(activation: str, loss: str) -> None:
    condition = report_condition(activation, loss, budget=120)
    module = fitted(condition, range(2, 3))
    curve, steps = train_alone(condition, 2)
    assert module.steps_to_target == steps
    torch.testing.assert_close(torch.stack(module.losses[:101]).tolist(), curve[:101], rtol=1e-9, atol=0)


def drawn(rng: np.random.Generator) -> Any:
    inputs = rng.standard_normal((40, 3))
    weights = np.array([1.0, -2.0, 0.5])
    return (
        inputs[:25],
        (inputs @ weights > 0)[:25].astype(float),
        (inputs[25:], (inputs @ weights > 0)[25:].astype(float)),
    )


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1), nn.Flatten(0))


class NormedAndNoisy(nn.Module):
    """Running statistics of one batch norm, another's at rest, and noise that is drawn also where it is measured."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.outer = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)
        self.resting = nn.BatchNorm1d(8).eval()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.dropout(self.resting(self.norm(self.inner(inputs))), 0.2)
        logits: torch.Tensor = self.outer(hidden).squeeze(1)
        return logits


NORMED = Condition(
    network=NormedAndNoisy,
    loss="cross_entropy",
    optimizer=SGD(learning_rate=0.3),
    stacked=False,
    data=GeneratedData(drawn),
    batch_size=7,
    target=Accuracy(split="validation").at_least(0.9),
    measured_every=4,
    budget=30,
)


@pytest.mark.filterwarnings("ignore:Found 1 module\\(s\\) in eval mode")
@pytest.mark.parametrize("condition", [NORMED, replace(NORMED, measured_every=1)], ids=["seldom", "always"])
def test_a_single_network_measures_as_the_engine_does(condition: Condition) -> None:
    for replica in range(3):
        single = fitted(condition, range(replica, replica + 1))
        engine = stacked_training(condition, 0, [replica], DOUBLE, curves_of=1)
        fit(engine, DOUBLE)
        outcome = engine.outcome()
        curve = torch.stack(single.metrics).numpy()
        np.testing.assert_array_equal(outcome.metric[0, : len(curve)], curve)
        assert outcome.steps_to_target[0] == (-1 if single.steps_to_target is None else single.steps_to_target)


def test_a_single_network_is_measured_after_the_last_update() -> None:
    """Also where that is between two measurements."""
    condition = replace(report_condition(budget=60), target=Accuracy().at_least(0.9), measured_every=50)
    single = [fitted(condition, range(replica, replica + 1)).steps_to_target for replica in (1, 2)]
    engine = stacked_training(condition, 0, [1, 2], DOUBLE, curves_of=1)
    fit(engine, DOUBLE)
    assert single == [None if steps < 0 else steps for steps in engine.outcome().steps_to_target]
    assert 60 in single


SOON = replace(report_condition(budget=100), target=Accuracy().at_least(0.9))


@pytest.mark.parametrize(
    "condition",
    [
        SOON,
        replace(SOON, optimizer=SGD(learning_rate=0.5, momentum=0.9, bias_gradient_scale=0.1)),
        replace(SOON, optimizer=Adam(learning_rate=0.05, beta1=0.8), batch_size=20),
        replace(
            report_condition(budget=60), data=GeneratedData(drawn), optimizer=AdamW(learning_rate=0.03), batch_size=7,
            target=Accuracy(split="validation").at_least(0.8), measured_every=3,
        ),
        replace(
            report_condition(budget=40), network=CNNConfig(activation="relu", channels=(3, 2), kernel=5),
            data=LineImages(n_images=16), target=Loss().at_most(0.5),
        ),
        Condition(
            name="dropout", network=with_dropout, loss="cross_entropy", optimizer=SGD(learning_rate=0.5), stacked=False,
            data=GeneratedData(drawn), target=Accuracy(split="validation").at_least(0.9), budget=40,
        ),
    ],
    ids=["sgd", "bias scale", "adam, batches", "adamw, validation", "cnn, loss", "dropout"],
)  # fmt: skip
def test_a_single_network_reproduces_the_stored_trial(condition: Condition) -> None:
    """Lightning's automatic optimisation with torch's optimiser, against the engine."""
    with Store(None) as store:
        (trials,) = Experiment(compute_config=DOUBLE, store=store).trials([condition], 3)
    single = [fitted(condition, range(replica, replica + 1)).steps_to_target for replica in (0, 2)]
    stored = [trial.steps_to_target for trial in trials]
    assert single == [stored[0], stored[2]]
    assert any(steps is not None for steps in single)


def test_flags_of_the_trainer_hold_for_a_single_network() -> None:
    condition = report_condition(budget=80)
    short = fitted(condition, range(1), max_steps=7)
    assert short.global_step == 7
    clipped = fitted(condition, range(1), gradient_clip_val=1e-3, max_steps=20)
    assert not torch.equal(torch.stack(clipped.losses), torch.stack(fitted(condition, range(1), max_steps=20).losses))
    slow = fitted(condition, range(1), accumulate_grad_batches=4)
    assert slow.steps_to_target is None or slow.steps_to_target <= 20
    fitted(condition, range(1), fast_dev_run=True)


@pytest.mark.parametrize("batch_size", [None, 20])
@pytest.mark.parametrize("replicas", [range(3, 4), range(5)])
def test_a_resumed_run_is_the_undisturbed_one(tmp_path: Any, replicas: range, batch_size: int | None) -> None:
    condition = replace(report_condition(budget=120), batch_size=batch_size, target=Accuracy().at_least(1.0))
    whole = fitted(condition, replicas)
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=100, save_top_k=-1, filename="{step}")
    fitted(condition, replicas, enable_checkpointing=True, callbacks=[keep])
    path = tmp_path / "step=100.ckpt"
    assert path.exists(), list(tmp_path.iterdir())
    again = training_module(condition, 0, replicas, precision="64-true")
    resumed = trainer(precision="64-true", enable_checkpointing=True, callbacks=[keep])
    resumed.fit(again, ckpt_path=str(path), weights_only=True)
    if isinstance(again, StackedReplicasModule):
        assert isinstance(whole, StackedReplicasModule)
        undisturbed, continued = whole.outcome(), again.outcome()
        np.testing.assert_array_equal(undisturbed.loss, continued.loss)
        np.testing.assert_array_equal(undisturbed.steps_to_target, continued.steps_to_target)
        np.testing.assert_array_equal(undisturbed.gradient_norm, continued.gradient_norm)
    else:
        assert again.losses == whole.losses
        assert again.steps_to_target == whole.steps_to_target


def test_gradient_norms_are_autograds() -> None:
    condition = report_condition("relu", "l2", budget=250)
    stacked = fitted(condition, range(3))
    norms = stacked.outcome().gradient_norm
    assert norms.shape == (3, 3, 2)

    for r in range(3):
        module = training_module(condition, 0, [r])
        assert isinstance(module, SingleNetworkModule)
        module.double()
        images, labels = module.training_examples
        loss, _ = module.objective.evaluate(module.network(images), labels)
        for k, parameters in enumerate(module.layers.values()):
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
            expected = torch.cat([gradient.flatten() for gradient in gradients]).norm()
            assert norms[r, 0, k] == pytest.approx(float(expected), rel=1e-9)
