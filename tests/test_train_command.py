import csv
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import lossact
from claims.report.conftest import condition as report_condition
from claims.report.test_cnn import cnn_condition
from lossact import Condition, Experiment, LineImages, RandomImages, Store
from lossact.cli import main
from lossact.training.compute_config import ComputeConfig

CONFIGS = Path(lossact.__file__).parent.parent / "configs"
IMAGES = RandomImages()
WORDS = {"l2": "l2", "ce": "cross_entropy"}
OF_CLAIMS = {
    f"mlp_{activation}_{short}": report_condition("", activation, loss, IMAGES)
    for activation in ("sigmoid", "relu")
    for short, loss in WORDS.items()
} | {"cnn": cnn_condition("", "relu", "cross_entropy", LineImages(n_images=64))}
SHORT = ["--model.budget=20"]
# Named, for Lightning logs to TensorBoard where that is installed.
AS_CSV = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=."]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")


def config(name: str) -> str:
    return f"--config={CONFIGS / name}.yaml"


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_every_experiment_of_the_report_has_a_config() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == OF_CLAIMS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_CLAIMS)
def test_a_config_is_the_claims_condition_and_fits(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Condition] = []
    network_config = Condition.__post_init__

    def kept(self: Condition) -> None:
        network_config(self)
        made.append(self)

    monkeypatch.setattr(Condition, "__post_init__", kept)
    main(["fit", config(name), *AS_CSV, "--trainer.max_steps=3", "--trainer.log_every_n_steps=1"])
    assert made[-1] == OF_CLAIMS[name]
    assert re.search("the target was not met within 3 updates", capsys.readouterr().out)
    (rows,) = Path("lightning_logs/version_0").glob("metrics.csv")
    assert {"loss", "accuracy", "update"} <= set(rows.read_text().splitlines()[0].split(","))


@pytest.mark.slow
def test_a_single_network_reproduces_the_stored_trial(capsys: pytest.CaptureFixture[str]) -> None:
    with Store(None) as store:
        experiment = Experiment(store=store, compute_config=ComputeConfig(precision="64-true"))
        (trials,) = experiment.trials([OF_CLAIMS["mlp_sigmoid_ce"]], 5)
    stored = list(trials)[4].steps_to_target
    assert stored is not None
    main(["fit", config("mlp_sigmoid_ce"), config("with/float64"), "--model.replica=4"])
    assert f"the target was met after {stored} updates" in capsys.readouterr().out


@pytest.mark.slow
def test_stacked_replicas_reproduce_the_stored_trials(capsys: pytest.CaptureFixture[str]) -> None:
    with Store(None) as store:
        experiment = Experiment(store=store, compute_config=ComputeConfig(precision="64-true"))
        (trials,) = experiment.trials([OF_CLAIMS["mlp_sigmoid_ce"]], 64)
    main(["fit", config("mlp_sigmoid_ce"), config("with/float64"), *AS_CSV, "--model.replicas=64"])
    reached = int(trials.reached.sum())
    assert f"{reached} of 64 replicas met the target within 1000 updates" in capsys.readouterr().out
    rows = table(Path("lightning_logs/version_0/metrics.csv"))
    last = [row for row in rows if row["reach_rate"]][-1]
    assert float(last["reach_rate"]) == reached / 64
    assert {"loss/median", "accuracy/q10", "gradient_norm/hidden/q90"} <= rows[0].keys()


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 3])
def test_a_checkpoint_goes_on_and_is_measured(replicas: int, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [config("mlp_relu_ce"), f"--model.replicas={replicas}", "--model.budget=200"]
    keep = [
        "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
        "--trainer.callbacks.dirpath=kept",
        "--trainer.callbacks.every_n_train_steps=100",
        "--trainer.callbacks.save_top_k=-1",
        "--trainer.callbacks.filename={step:d}",
    ]
    main(["fit", *arguments, *keep])
    whole = torch.load("kept/step=200.ckpt", weights_only=True)
    main(["fit", *arguments, *keep, "--trainer.callbacks.dirpath=again", "--ckpt_path=kept/step=100.ckpt"])
    again = torch.load("again/step=200.ckpt", weights_only=True)
    if replicas == 1:
        assert all(torch.equal(whole["state_dict"][name], again["state_dict"][name]) for name in whole["state_dict"])
    else:
        assert torch.equal(whole["replicas"]["parameters"], again["replicas"]["parameters"])
    capsys.readouterr()
    for command in ("validate", "test", "predict"):
        assert main([command, *arguments, "--ckpt_path=kept/step=200.ckpt"]) == 0
    printed = capsys.readouterr().out
    assert "val_accuracy" in printed
    assert "test_accuracy" in printed
    predictions = Path(re.findall("predictions: (.*)", printed)[0])
    rows = table(predictions)
    assert [int(row["replica"]) for row in rows] == [r for r in range(replicas) for _ in range(64)]
    right = np.mean([(float(row["logit"]) >= 0) == (float(row["target"]) == 1) for row in rows])
    (measured,) = re.findall(r"val_accuracy\s+([\d.]+)", printed)
    assert right == pytest.approx(float(measured))


@pytest.mark.slow
def test_a_second_run_goes_where_the_first_went(capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=logs"]
    where += ["--trainer.logger.version=0"]
    for _ in range(2):
        main(["fit", config("mlp_relu_l2"), *SHORT, *where])
    assert yaml.safe_load(Path("logs/lightning_logs/version_0/config.yaml").read_text())["model"]["budget"] == 20


def test_the_printed_config_can_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", config("cnn"), "--model.optimizer=AdamW", "--model.budget=7", "--print_config"])
    text = capsys.readouterr().out
    model = yaml.safe_load(text)["model"]
    assert model["optimizer"]["class_path"] == "lossact.AdamW"
    assert model["data"]["class_path"] == "lossact.LineImages"
    Path("own.yaml").write_text(text)
    with pytest.raises(SystemExit):
        main(["fit", "--config=own.yaml", "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["model"] == model


@pytest.mark.parametrize(
    ("options", "measure", "threshold"),
    [
        (["--model.target.at_least", "0.9"], ("Accuracy", "training"), (0.9, None)),
        (["--model.target.measure.split", "validation"], ("Accuracy", "validation"), (1.0, None)),
        (
            ["--model.target.measure=Loss", "--model.target.at_least=null", "--model.target.at_most=0.1"],
            ("Loss", "training"), (None, 0.1),
        ),
    ],
)  # fmt: skip
def test_parts_of_a_target_are_options(
    options: list[str], measure: tuple[str, str], threshold: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", config("cnn"), *options, "--print_config"])
    target = yaml.safe_load(capsys.readouterr().out)["model"]["target"]
    name, split = measure
    assert target["measure"] == {"class_path": f"lossact.{name}", "init_args": {"split": split}}
    assert (target["at_least"], target["at_most"]) == threshold


def test_help_fits_on_a_screen_before_the_trainers_options() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "lossact.cli", "fit", "--help"], capture_output=True, text=True, check=True, timeout=200
    ).stdout
    assert printed.index("--model.replicas") < 4000 < printed.index("--trainer.max_epochs")


ZIPPED = b"PK\x05\x06" + bytes(18)  # an archive of nothing
STACKED = [config("mlp_sigmoid_l2"), "--model.replicas=8"]
NEW_FORM = (
    "a target is a measure with a threshold since lossact 0.2: in YAML target: {measure: {class_path: "
    "lossact.Accuracy, init_args: {split: validation}}, at_least: 0.9}, as options"
)
BAD: dict[str, tuple[list[str], str]] = {
    "a target that YAML reads as a truth value": (
        [config("cnn"), "--config=on.yaml"], "are named by split: training or split: validation; see lossact fit --help"
    ),
    "a target of lossact 0.1": ([config("cnn"), "--config=old.yaml"], NEW_FORM),
    "a target of lossact 0.1, as an option": ([config("cnn"), "--model.target=lossact.Loss"], NEW_FORM),
    "both thresholds": (
        [config("cnn"), "--model.target.at_most=0.1"], "at_least=1.0 and at_most=0.1: give exactly one of the two"
    ),
    "nesterov": (
        [config("cnn"), "--model.optimizer.nestrov=true"], "'nestrov' is not accepted; see lossact fit --help"
    ),
    "a config that is no text": (["--config=binary.yaml"], "codec can't decode"),
    "a callback that cannot be made": (
        [config("cnn"), "--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=-7"],
        "save_top_k=-7. Must be >= -1",
    ),
    "stacked replicas with a time": (
        [config("cnn"), "--model.replicas=2", "--trainer.max_time=00:00:01:00"],
        "max_time (the budget says how many updates)",
    ),
    "no config": ([], "the following arguments are required"),
    "no such config": (["--config=nothere.yaml"], "File does not exist"),
    "broken config": (["--config=broken.yaml"], "Problems parsing config"),
    "unknown key": ([config("cnn"), "--model.bugdet=3"], "bugdet"),
    "unknown class": ([config("cnn"), "--model.optimizer=Adm"], "Adm"),
    "unknown argument of a class": ([config("cnn"), "--model.optimizer.momentun=1"], "momentun"),
    "activation": ([config("cnn"), "--model.network.activation=rleu"], "activation='rleu' is not known; choose one of"),
    "learning rate": ([config("cnn"), "--model.optimizer.learning_rate=-1"], "learning_rate=-1.0 must be > 0; try 0.1"),
    "loss": ([config("cnn"), "--model.loss=l3"], "loss='l3' is not known; choose one of cross_entropy"),
    "loss that cannot be imported": ([config("cnn"), "--model.loss=no.such"], "loss='no.such' cannot be imported"),
    "budget": ([config("cnn"), "--model.budget=0"], "budget=0 must be an integer >= 1"),
    "replicas": ([config("cnn"), "--model.replicas=0"], "replicas=0 must be an integer >= 1 and <= 1000000; try 256"),
    "replica": ([config("cnn"), "--model.replica=-1"], "replica=-1 must be an integer >= 0"),
    "accelerator": ([config("cnn"), "--trainer.accelerator=warp"], "invalid accelerator name"),
    "batch": ([config("cnn"), "--model.batch_size=65"], "batch_size=65 must be at most the 64 examples"),
    "checkpoint": ([config("cnn"), "--ckpt_path=nothere.ckpt"], "nothere.ckpt"),
    "steps": ([*STACKED, "--trainer.max_steps=5"], "cannot take the Trainer's max_steps (the budget says"),
    "clipping": ([*STACKED, "--trainer.gradient_clip_val=1"], "gradient_clip_val (each replica's gradient is its own)"),
    "accumulation": ([*STACKED, "--trainer.accumulate_grad_batches=2"], "accumulate_grad_batches"),
    "precision": ([*STACKED, "--trainer.precision=16-true"], "precision (replicas take 32-true, 64-true, bf16-mixed)"),
    "epochs": ([*STACKED, "--trainer.max_epochs=3"], "max_epochs"),
    "quick run": ([*STACKED, "--trainer.fast_dev_run=true"], "fast_dev_run (a small budget is a quick run)"),
    "strategy": ([*STACKED, "--trainer.strategy=ddp"], "strategy (one process holds all replicas)"),
    "too many replicas": ([config("cnn"), "--model.replicas=10000000"], "must be an integer >= 1 and <= 1000000"),
    "a network beyond all memory": ([config("mlp_relu_l2"), "--model.network.hidden=10000000000000"], "out of memory"),
    "a loss that is a class": ([config("cnn"), "--model.loss=torch.nn.MSELoss"], "loss=MSELoss is a class"),
    "a metric that nobody logs": (
        [config("mlp_relu_l2"), *SHORT, "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=f1"],
        "conditioned on metric `f1` which is not available",
    ),
    "several": (
        [*STACKED, "--trainer.max_steps=5", "--trainer.gradient_clip_val=1"], "max_steps (the budget says how many "
        "updates), gradient_clip_val (each replica's gradient is its own); leave out what is named",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.yaml").write_text("model: [1, 2")
    Path("binary.yaml").write_bytes(b"\xeb\xff\x00")
    Path("on.yaml").write_text("model: {target: {measure: {class_path: lossact.Loss, init_args: {on: validation}}}}")
    Path("old.yaml").write_text("model: {target: {class_path: lossact.Accuracy, init_args: {at_least: 0.9}}}")
    arguments, message = BAD[case]
    error = fails(["fit", *arguments], capsys)
    assert error.startswith("lossact fit: ")
    assert message in error
    assert "Traceback" not in error


def test_a_checkpoint_of_another_network_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    keep = "--trainer.default_root_dir=kept"
    main(["fit", config("mlp_relu_ce"), *SHORT, keep])
    (checkpoint,) = Path("kept").rglob("*.ckpt")
    for changes in (["--model.network.hidden=5"], ["--model.replicas=3"]):
        error = fails(["validate", config("mlp_relu_ce"), *changes, f"--ckpt_path={checkpoint}"], capsys)
        assert "give the config that it was made with" in error
    for changes, why in (
        (["--model.network.activation=sigmoid"], "network is"),
        (["--model.loss=l2"], "loss is cross_entropy, that of the config l2"),
        (["--model.budget=30"], "of a run of 20 updates, the config's budget is 30"),
        (["--model.optimizer.learning_rate=1.0"], "of a run whose optimizer was another one; a fit goes on"),
        (["--model.batch_size=10"], "of a run whose batch_size was another one (None, now 10)"),
        (["--model.seed=5"], "of a run whose seed was another one (0, now 5)"),
        (["--model.replica=1"], "of a run whose replicas was another one"),
    ):
        error = fails(["fit", config("mlp_relu_ce"), *SHORT, *changes, f"--ckpt_path={checkpoint}"], capsys)
        assert f"the checkpoint is {why}" in error or f"the checkpoint's {why}" in error


@pytest.mark.parametrize("content", [None, b"", b"hello world", b"PK\x03\x04 half a checkpoint", ZIPPED])
def test_a_file_that_is_not_a_checkpoint_is_named(content: bytes | None, capsys: pytest.CaptureFixture[str]) -> None:
    if content is not None:
        Path("some.ckpt").write_bytes(content)
    error = fails(["validate", config("mlp_relu_ce"), "--ckpt_path=some.ckpt"], capsys)
    assert re.search(r"ckpt_path='some.ckpt' is no (file|checkpoint, or a damaged one); give", error)


def test_what_is_measured_without_a_checkpoint_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    main(["validate", config("mlp_relu_ce"), "--trainer.logger=false"])
    assert "no --ckpt_path is given: the weights are those before any update" in capsys.readouterr().err


OWN = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))

def squared(outputs, targets):
    return (outputs - targets) ** 2
"""


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 3])
def test_a_custom_network_and_loss_are_given_by_import_path(replicas: int) -> None:
    Path("my_parts.py").write_text(OWN)
    part = {"class_path": "lossact.ModuleFactory", "init_args": {"make": "my_parts.make"}}
    Path("own.yaml").write_text(yaml.safe_dump({"model": {"network": part, "loss": "my_parts.squared"}}))
    command = Path(sys.executable).with_name(
        "lossact"
    )  # as it is installed, which has no folder of its own on the path
    printed = subprocess.run(
        [command, "fit", config("mlp_relu_l2"), "--config=own.yaml", f"--model.replicas={replicas}", *SHORT],
        capture_output=True, text=True, check=True, timeout=300,
    ).stdout  # fmt: skip
    assert "within 20 updates" in printed


def test_accumulated_batches_are_one_update(capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", config("mlp_relu_ce"), *SHORT, "--trainer.accumulate_grad_batches=3", "--trainer.logger=false"])
    assert "the target was not met within 20 updates" in capsys.readouterr().out


class Opened:
    def __reduce__(self) -> Any:
        return (os.system, ("touch opened",))


def test_a_checkpoint_is_never_unpickled(capsys: pytest.CaptureFixture[str]) -> None:
    Path("evil.ckpt").write_bytes(pickle.dumps(Opened(), protocol=2))
    torch.save({"state_dict": Opened()}, "worse.ckpt")
    for name in ("evil.ckpt", "worse.ckpt"):
        error = fails(["validate", config("mlp_relu_ce"), f"--ckpt_path={name}"], capsys)
        assert "Traceback" not in error
    assert not Path("opened").exists()


@pytest.mark.parametrize("path", sorted((CONFIGS / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_sweep_names_options_that_fit_has(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = yaml.safe_load(path.read_text())
    assert sweep["method"] in {"grid", "random", "bayes"}
    assert sweep["metric"] == {"name": "reach_rate", "goal": "maximize"}
    monkeypatch.chdir(CONFIGS.parent)
    values = {
        name: parameter["values"][0] if "values" in parameter else parameter["min"]
        for name, parameter in sweep["parameters"].items()
    }
    given = [f"--{name}={value}" for name, value in values.items()]
    command = [part for word in sweep["command"] for part in (given if word == "${args}" else [word])]
    assert command[:2] == ["lossact", "fit"]
    with pytest.raises(SystemExit) as stopped:
        main([*command[1:], "--print_config"])
    assert stopped.value.code == 0
    parsed = yaml.safe_load(capsys.readouterr().out)
    assert parsed["model"]["replicas"] == 256
    assert parsed["trainer"]["logger"]["init_args"]["offline"] is False
