"""`lossact fit --model.replicas`: the values that a config's measures give, in the table and on the screen."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lossact import Accuracy, Adam, Best, Condition, Loss, SavedArrays, replicate
from lossact.cli.main import main
from tests.replicas.against_alone import DOUBLE

CONFIG = """
model:
  network: {class_path: lossact.ModuleFactory, init_args: {make: tests.test_train_measures.network}}
  loss: torch.nn.functional.cross_entropy
  optimizer: {class_path: lossact.Adam, init_args: {learning_rate: 0.05}}
  data: {class_path: lossact.SavedArrays, init_args: {path: data.npz}}
  measures:
    accuracy: {class_path: lossact.Accuracy, init_args: {split: validation}}
    loss: {class_path: lossact.Loss, init_args: {split: validation}}
    least: {class_path: lossact.Best, init_args: {measure: {class_path: lossact.Loss}, mode: min}}
  measured_at: [5, 20]
  batch_size: 10
  budget: 60
  replicas: 3
trainer:
  accelerator: cpu
  precision: 64-true
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: .}}
"""


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = np.random.default_rng(0).normal(size=(60, 4))
    targets = (inputs[:, 0] > inputs[:, 1]).astype(np.int64)
    np.savez(
        "data.npz",
        inputs=inputs[:40],
        targets=targets[:40],
        validation_inputs=inputs[40:],
        validation_targets=targets[40:],
    )
    Path("config.yaml").write_text(CONFIG)


def rows_of(version: int) -> list[dict[str, str]]:
    with Path(f"lightning_logs/version_{version}/replicas.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_holds_the_values_that_replicate_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config=config.yaml"]) == 0
    printed = capsys.readouterr().out
    condition = Condition(
        network=network,
        loss=torch.nn.functional.cross_entropy,
        optimizer=Adam(learning_rate=0.05),
        data=SavedArrays(Path("data.npz")),
        measures={
            "accuracy": Accuracy(split="validation"),
            "loss": Loss(split="validation"),
            "least": Best(Loss(), "min"),
        },
        measured_at=(5, 20),
        batch_size=10,
        budget=60,
    )
    expected = replicate(condition, replicas=3, compute_config=DOUBLE)
    rows = rows_of(0)
    assert [row["replica"] for row in rows] == ["0", "1", "2"]
    assert {(row["steps_to_target"], row["diverged"]) for row in rows} == {("", "False")}
    for name in condition.value_names:
        assert [float(row[name]) for row in rows] == pytest.approx(expected.trials.values[name].tolist(), rel=1e-9)
    median = float(np.median(expected.trials.values["loss"]))
    assert f"loss: median {median:.4g}, 80% of replicas within [" in printed
    assert "met the target" not in printed  # there is none
    assert re.search(r"each replica: .*replicas\.csv", printed)


def test_values_taken_before_a_checkpoint_are_in_the_table_of_the_run_that_goes_on() -> None:
    keep = [
        "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
        "--trainer.callbacks.dirpath=kept",
        "--trainer.callbacks.every_n_train_steps=25",
        "--trainer.callbacks.save_top_k=-1",
        "--trainer.callbacks.filename={step:d}",
    ]
    assert main(["fit", "--config=config.yaml", *keep]) == 0
    assert main(["fit", "--config=config.yaml", "--ckpt_path=kept/step=25.ckpt"]) == 0
    assert rows_of(0) == rows_of(1)


def test_a_single_network_with_measures_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config=config.yaml", "--model.replicas=1"])
    assert "are taken of two replicas or more" in capsys.readouterr().err
