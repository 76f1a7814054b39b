"""What `lossact fit` and its like write, and what they leave alone."""

from pathlib import Path

import pytest
import yaml

from lossact.cli import main
from tests.test_train_command import AS_CSV, SHORT, config, fails, in_an_empty_folder, table

__all__ = ["in_an_empty_folder"]  # a fixture
OFFLINE = ["--trainer.logger=lightning.pytorch.loggers.WandbLogger", "--trainer.logger.offline=true"]
OFFLINE += ["--trainer.logger.save_dir=.", "--trainer.logger.project=mine"]


@pytest.mark.parametrize("command", ["fit", "validate"])
@pytest.mark.parametrize("logger", [["--trainer.logger=false"], OFFLINE], ids=["no logger", "wandb"])
def test_the_users_config_is_left_alone(command: str, logger: list[str]) -> None:
    text = "# mine\n" + Path(config("mlp_relu_l2").removeprefix("--config=")).read_text()
    Path("config.yaml").write_text(text)
    assert main([command, "--config=config.yaml", *SHORT, *logger]) == 0
    assert Path("config.yaml").read_text() == text


def test_a_logger_that_writes_where_the_users_config_is_leaves_it_alone() -> None:
    text = "# mine\n" + Path(config("mlp_relu_l2").removeprefix("--config=")).read_text()
    Path("config.yaml").write_text(text)
    here = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=."]
    here += ["--trainer.logger.name=", "--trainer.logger.version="]
    assert main(["fit", "--config=config.yaml", *SHORT, *here]) == 0
    assert Path("config.yaml").read_text() == text


def test_each_run_of_wandb_has_a_table_and_a_config_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        assert main(["fit", config("mlp_relu_l2"), *SHORT, *OFFLINE, "--model.replicas=4", f"--model.seed={seed}"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("each replica: ")]
    tables = [Path(line.removeprefix("each replica: ")) for line in lines]
    assert len({path.resolve() for path in tables}) == 2
    assert all(len(table(path)) == 4 for path in tables)
    assert [yaml.safe_load((path.parent / "config.yaml").read_text())["model"]["seed"] for path in tables] == [1, 2]


@pytest.mark.parametrize(
    ("command", "name", "message"),
    [
        ("fit", "best", "ckpt_path='best' is for the fit of one process; give the path of a checkpoint"),
        ("test", "best", "ckpt_path='best' is for the fit of one process"),
        ("validate", "last", "ckpt_path names no checkpoint that is there; give the path of one"),
        ("validate", "hpc", "ckpt_path names no checkpoint that is there; give the path of one"),
    ],
)
def test_names_of_checkpoints_that_are_not_there(
    command: str, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in fails([command, config("mlp_relu_l2"), *SHORT, *AS_CSV, f"--ckpt_path={name}"], capsys)
