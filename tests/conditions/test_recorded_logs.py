"""Recorded runs are read from logs: CSVLogger, TensorBoard and W&B."""

import importlib.util
import sys
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from lossact import (
    read_runs,
)
from lossact.errors import InputError


def test_csv_logger_folders_are_read(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    for name, rate in (("adam", 0.1), ("sgd", 0.2)):
        for seed in range(2):
            logger = CSVLogger(tmp_path / "logs", name=name)
            logger.log_hyperparams({"rate": rate, "seed": seed})
            for step in range(4):
                logger.log_metrics({"train_loss": 1.0}, step)
                logger.log_metrics({"val_loss": rate / (1 + step) + seed / 977}, step + 1)
            logger.save()
    runs = read_runs(tmp_path / "logs", value="val_loss")
    assert {name: len(condition) for name, condition in runs.items()} == {"adam": 2, "sgd": 2}
    assert runs["sgd"].runs[1].steps is not None
    assert runs["sgd"].runs[1].steps.tolist() == [1, 2, 3, 4]
    assert runs["sgd"].runs[1].values[0] == pytest.approx(0.2 + 1 / 977)
    by_rate = read_runs(tmp_path / "logs", value="val_loss", condition="rate", pair="seed")
    assert list(by_rate) == ["0.1", "0.2"]
    assert [run.pair for run in by_rate["0.1"].runs] == ["0", "1"]
    with pytest.raises(InputError, match="no column value='acc'"):
        read_runs(tmp_path / "logs", value="acc")
    with pytest.raises(InputError, match="no hyperparameter 'depth'; it has rate, seed"):
        read_runs(tmp_path / "logs", value="val_loss", condition="depth")


def test_a_folder_without_logs_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no metrics\.csv, TensorBoard event file or offline W&B run"):
        read_runs(tmp_path, value="loss")


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="the extra tensorboard is not installed")
def test_tensorboard_event_files_are_read(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for name in ("adam", "sgd"):
        for seed in range(2):
            writer = SummaryWriter(str(tmp_path / name / str(seed)))
            for step in range(0, 40, 10):
                writer.add_scalar("val/loss", 1 / (1 + step) + seed / 100, step)
            writer.close()
    runs = read_runs(tmp_path, value="val/loss")
    assert list(runs) == ["adam", "sgd"]
    assert runs["sgd"].runs[1].steps is not None
    assert runs["sgd"].runs[1].steps.tolist() == [0, 10, 20, 30]
    assert runs["sgd"].runs[1].values[0] == 1.01
    for seed in range(2):  # as Lightning's TensorBoardLogger writes it
        for name, rate in (("adam", 0.1), ("sgd", 0.2)):
            (tmp_path / name / str(seed) / "hparams.yaml").write_text(f"lr: {rate}\nseed: {seed}\n")
    by_rate = read_runs(tmp_path, value="val/loss", condition="lr", pair="seed")
    assert list(by_rate) == ["0.1", "0.2"]
    assert [run.pair for run in by_rate["0.2"].runs] == ["0", "1"]
    with pytest.raises(InputError, match="no scalar value='acc'; it has val/loss"):
        read_runs(tmp_path, value="acc")


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="the extra tensorboard is not installed")
def test_tensorboard_scalars_that_were_written_as_tensors_are_read(tmp_path: Path) -> None:
    """TensorFlow 2 and JAX write them so."""
    from torch.utils.tensorboard import SummaryWriter

    for name in ("adam", "sgd"):
        for seed in range(2):
            writer = SummaryWriter(str(tmp_path / name / str(seed)))
            for step in range(3):
                writer.add_scalar("acc", 0.1 * step + seed / 100, step, new_style=True)
                writer.add_tensor("weights", torch.ones(3), step)
            writer.close()
    runs = read_runs(tmp_path, value="acc")
    assert runs["sgd"].runs[1].values.tolist() == [0.01, 0.11, 0.21]
    for name in ("weights", "f1"):
        with pytest.raises(InputError, match=f"no scalar value='{name}'; it has acc$"):
            read_runs(tmp_path, value=name)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="the extra tensorboard is installed")
def test_without_tensorboard_the_extra_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "adam" / "0"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1").touch()
    with pytest.raises(InputError, match=r"pip install 'lossact\[tensorboard\]'"):
        read_runs(tmp_path, value="loss")


class RecordedRun:
    """A run as wandb.Api answers with it."""

    def __init__(self, name: str, config: dict[str, Any], values: Sequence[object], *, state: str = "finished") -> None:
        self.name, self.id, self.config, self.group, self.state = name, name, config, config["opt"], state
        self.values = values

    def scan_history(self, keys: Sequence[str]) -> Iterable[dict[str, object]]:
        return ({keys[0]: 10 * k, keys[1]: value} for k, value in enumerate(self.values))


@pytest.fixture
def recorded_api(monkeypatch: pytest.MonkeyPatch) -> list[RecordedRun]:
    """wandb with recorded answers, and no network."""
    runs = [RecordedRun(f"{opt}{seed}", {"opt": opt, "seed": seed}, [0.5 + seed / 97, 0.25 + seed / 91])
            for opt in ("adam", "sgd") for seed in range(2)]  # fmt: skip
    runs.append(RecordedRun("running", {"opt": "sgd"}, [1.0], state="running"))
    module: Any = types.ModuleType("wandb")
    module.errors = types.SimpleNamespace(Error=ConnectionError)

    class Api:
        def runs(self, path: str, order: str) -> list[RecordedRun]:
            if path != "us/race":
                raise ConnectionError("Could not find project")
            return runs

    module.Api = Api
    monkeypatch.setitem(sys.modules, "wandb", module)
    return runs


def test_runs_of_a_wandb_project_are_read(recorded_api: list[RecordedRun]) -> None:
    runs = read_runs("wandb:us/race", value="val_loss", condition="opt", pair="seed")
    assert {name: len(condition) for name, condition in runs.items()} == {"adam": 2, "sgd": 2}
    assert runs["adam"].runs[1].values.tolist() == [0.5 + 1 / 97, 0.25 + 1 / 91]
    assert read_runs("wandb:us/race", value="val_loss").keys() == {"adam", "sgd"}
    with pytest.raises(InputError, match="W&B does not answer with its runs"):
        read_runs("wandb:us/other", value="val_loss")
    recorded_api[0].values = [0.5, "NaN"]
    with pytest.raises(InputError, match=r"run adam0: val_loss='NaN' must be a finite number"):
        read_runs("wandb:us/race", value="val_loss")


def test_runs_of_a_wandb_project_that_did_not_finish_are_an_error(recorded_api: list[RecordedRun]) -> None:
    for state, opt in (("crashed", "adam"), ("crashed", "adam"), ("failed", "sgd"), ("killed", "sgd")):
        recorded_api.append(RecordedRun(f"{state}{len(recorded_api)}", {"opt": opt}, [9.0], state=state))
    message = (
        r"wandb:us/race: 4 of its runs did not finish \(2 of adam crashed, 1 of sgd failed, 1 of sgd killed\), and a "
        r"run that diverged and crashed is a result: .*; give a table .* finished_only=True"
    )
    for condition in ("opt", None):
        with pytest.raises(InputError, match=message):
            read_runs("wandb:us/race", value="val_loss", condition=condition)
    runs = read_runs("wandb:us/race", value="val_loss", condition="opt", finished_only=True)
    assert {name: len(condition) for name, condition in runs.items()} == {"adam": 2, "sgd": 2}
    with pytest.raises(InputError, match="2 of no rate crashed, 1 of no rate failed"):
        read_runs("wandb:us/race", value="val_loss", condition="rate")


def test_only_wandb_says_how_runs_ended(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"finished_only=True is for wandb:ENTITY/PROJECT, and .*; leave it out"):
        read_runs(tmp_path / "runs.csv", value="loss", finished_only=True)


@pytest.mark.slow
def test_offline_wandb_runs_are_read(tmp_path: Path) -> None:
    import wandb

    for group in ("adam", "sgd"):
        for seed in range(2):
            run = wandb.init(mode="offline", dir=str(tmp_path), project="race", group=group, config={"seed": seed},
                             settings=wandb.Settings(silent=True, console="off"))  # fmt: skip
            for step in range(3):
                run.log({"val_loss": 1 / (1 + step) + seed / 97})
            run.finish()
    runs = read_runs(tmp_path, value="val_loss", pair="seed")
    assert {name: len(condition) for name, condition in runs.items()} == {"adam": 2, "sgd": 2}
    steps = runs["adam"].runs[0].steps
    assert steps is not None
    assert steps.tolist() == [0, 1, 2]
    assert {run.pair for run in runs["sgd"].runs} == {"0", "1"}
