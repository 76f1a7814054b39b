"""A fit that is killed or interrupted keeps what it logged."""

import signal
import sys
from pathlib import Path

import pytest

from tests.processes import Start, kill_group, wait_until
from tests.report.test_wandb_runs import inspect
from tests.test_train_command import config

ENDLESS = [
    "--model.target.measure=lossact.Loss", "--model.target.at_least=null", "--model.target.at_most=-1",
    "--model.budget=1000000", "--trainer.log_every_n_steps=1",
]  # fmt: skip


STALLS = """
import time
from pathlib import Path

from lightning.pytorch import Callback

class Stall(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 40:
            Path("stalled").touch()
            time.sleep(600)
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")


def logged_updates() -> list[int]:
    """The updates in the history of the offline run."""
    (run,) = Path(".lossact").glob("wandb/offline-run-*/*.wandb")
    return [record["history"]["item"]["update"] for record in inspect(run) if record["type"] == "history"]


@pytest.mark.slow
def test_a_killed_run_keeps_what_it_logged(start: Start) -> None:
    """Logged rows reach the disk during the run; only the last ones may still be buffered."""
    Path("my_parts.py").write_text(STALLS)
    arguments = ["fit", config("mlp_sigmoid_l2"), config("with/wandb"), *ENDLESS]
    process = start([sys.executable, "-m", "lossact.cli", *arguments, "--trainer.callbacks+=my_parts.Stall"])
    assert wait_until(lambda: Path("stalled").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate(timeout=60)
    wait_until(lambda: len(logged_updates()) >= 38, within=60)
    kill_group(process)
    updates = logged_updates()
    assert len(updates) >= 38
    assert updates == list(range(len(updates)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_fit_in_the_middle_of_its_training(
    sent: signal.Signals, status: int, word: str, start: Start
) -> None:
    logs = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=logs"]
    logs += ["--trainer.logger.flush_logs_every_n_steps=1"]
    process = start([sys.executable, "-m", "lossact.cli", "fit", config("mlp_sigmoid_l2"), *ENDLESS, *logs])
    assert wait_until(lambda: list(Path("logs").rglob("metrics.csv")) or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(sent)
    _, error = process.communicate(timeout=120)  # a million updates take longer
    assert process.returncode == status
    assert error.strip().endswith(f"lossact fit: {word}")
