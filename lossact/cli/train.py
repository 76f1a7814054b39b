"""lossact fit, validate, test and predict: Lightning's command line for one replica of a condition, or many."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NoReturn
from zipfile import ZipFile, is_zipfile

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

from lossact.checks import check_count, explain_out_of_memory
from lossact.cli.training_commands import TRAINING
from lossact.conditions import Condition
from lossact.errors import InputError
from lossact.models.config import NetworkConfig
from lossact.report.wandb_runs import define_axes, log_arrivals, prepare_wandb, wandb_given_up
from lossact.running.training_module import training_module, trials_of
from lossact.training.base import ReplicasModule
from lossact.training.callbacks import PredictionFile, ReplicaLog, UpdatesBar
from lossact.training.quiet import interruptible, quiet
from lossact.training.single import SingleNetworkModule
from lossact.training.stacked import StackedReplicasModule

MOST_REPLICAS = 1_000_000
CLEARER = {  # messages of jsonargparse, and what is said instead
    "Key must be a string, got: ": "the config has a key that YAML reads as a truth value, as on, off, yes and no are; "
    "the examples of a measure are named by split: training or split: validation",
    "Subclasses are disabled for Target": "a target is a measure with a threshold since lossact 0.2: in YAML "
    "target: {measure: {class_path: lossact.Accuracy, init_args: {split: validation}}, at_least: 0.9}, as options "
    "--model.target.measure.split validation --model.target.at_least 0.9",
}
UNLOGGED = "Early stopping conditioned on metric"  # how EarlyStopping says that nobody logs what it monitors


def _words(command: str, does: str) -> dict[str, str]:
    checkpoint = "" if command == "fit" else " --ckpt_path CHECKPOINT"
    return {
        "usage": f"lossact {command} --config FILE [--config FILE ...] [--KEY VALUE ...]{checkpoint}",
        "description": f"{does[0].upper()}{does[1:]}. Keys of the config are options too, and later ones win; "
        "--print_config shows what they make together.",
    }


def replica_training(
    network: NetworkConfig,
    loss: str,
    seed: int = 0,
    replica: int = 0,
    replicas: int = 1,
    compiled: bool = False,
    precision: str = "32-true",
    **condition: Any,
) -> LightningModule:
    """Replicas of a condition.

    Args:
        network: What is trained: MLPConfig, CNNConfig, or ModuleFactory for a function that makes a module.
        loss: cross_entropy, l2, huber or hinge, or the import path of a function (outputs, targets) -> losses.
        seed: The experiment's, >= 0; replica r draws its data and initial weights from (seed, r).
        replica: Index of the first one, >= 0.
        replicas: How many train, up to a million; 1 is a plain network that takes every flag of the Trainer; more are
            stacked.
        compiled: Whether the step of stacked replicas goes through torch.compile.
        precision: The Trainer's.
        **condition: What is trained.
    """
    check_count("seed", seed, at_least=0, hint=0)
    check_count("replica", replica, at_least=0, hint=0)
    check_count("replicas", replicas, at_most=MOST_REPLICAS, hint=256)
    found = range(replica, replica + replicas)
    what = Condition(network=network, loss=_loss(loss), **condition)
    return training_module(what, seed, found, precision=precision, compiled=compiled)


def _loss(name: str) -> str | Callable[[Any, Any], Any]:
    """The loss of that name, or the function of that import path."""
    module, _, function = name.rpartition(".")
    if not module:
        return name
    if not all(map(str.isidentifier, name.split("."))):
        raise InputError(f"loss={name!r} is no import path; give one such as project.losses.squared, or a loss's name")
    try:
        found: Callable[[Any, Any], Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"loss={name!r} cannot be imported ({error}); give the import path of a function") from None
    return found


def _precision(given: Any) -> str:
    return {None: "32-true", "32": "32-true", "64": "64-true"}.get(given if given is None else str(given), str(given))


class LoggedConfig(SaveConfigCallback):
    """Saves the whole config, and gives it to every logger as its run's hyperparameters."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, ReplicasModule)
        config = self.config.clone().as_dict()
        for logger in trainer.loggers:
            logger.log_hyperparams(
                dict(pl_module.metadata)
                | {name: _plain(config[name]) for name in ("model", "trainer", "data") if config.get(name)}
            )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


class WandbRun(Callback):
    """What a run of WandbLogger gets beside the rows: axes, a name, and when training is over, who arrived when."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ReplicasModule)
        for logger in _wandb_loggers(trainer):
            define_axes(logger.experiment, pl_module.metric_name)
            if logger._name is None:  # `name` is the project's
                logger.experiment.name = pl_module.metadata["name"]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, (SingleNetworkModule, StackedReplicasModule))
        for logger in _wandb_loggers(trainer):
            pictures = Path(logger.save_dir or ".lossact") / "surfaces"
            log_arrivals(logger.experiment, trials_of(pl_module), pl_module.metadata, pictures)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for logger in _wandb_loggers(trainer):
            logger.experiment.finish()


def _wandb_loggers(trainer: Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]


class TrainingParser(LightningArgumentParser):
    """Reports a mistake in one line, without the list of all options."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        hint = "; see lossact fit --help"
        line = " ".join(message.removesuffix(hint).split())
        clearer = (text for part, text in CLEARER.items() if part in line)
        raise InputError(next(clearer, line) + hint) from None  # a class of the config has a parser of its own


class TrainingCLI(LightningCLI):
    """LightningCLI with lossact's callbacks."""

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(replica_training, "model")  # before the Trainer's, which fill pages
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in self.trainer_defaults.items()})
        parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True, required=False)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("trainer.precision", "model.precision", compute_fn=_precision)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        path = self.config[self.config.subcommand].get("ckpt_path")
        if not isinstance(path, str) or path in ("last", "best", "hpc") or "://" in path:  # Lightning finds these
            return
        if not Path(path).is_file():
            raise InputError(f"ckpt_path={path!r} is no file; give a checkpoint that a fit has written")
        if not is_zipfile(path) or not any(one.endswith("/data.pkl") for one in ZipFile(path).namelist()):
            raise InputError(f"ckpt_path={path!r} is no checkpoint, or a damaged one; give one that a fit has written")

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except InputError:
            raise
        except (ValueError, TypeError, ImportError) as error:
            raise InputError(_first(error)) from None

    def instantiate_trainer(self, **flags: Any) -> Trainer:
        given = self._get(self.config_init, "trainer")
        callbacks = given.get("callbacks") or []
        self.predictions = PredictionFile()
        own: list[Any] = [ReplicaLog(), WandbRun(), self.predictions]
        if given.get("enable_progress_bar") is not False and not any(isinstance(one, ProgressBar) for one in callbacks):
            own.append(UpdatesBar())
        try:
            return super().instantiate_trainer(callbacks=[*callbacks, *own], **flags)
        except (ValueError, TypeError) as error:
            raise InputError(f"trainer: {error}") from None


def run(arguments: Sequence[str] | None) -> None:
    """Run one of the four commands.

    Args:
        arguments: the command and its options; None for those of the process.

    Raises:
        InputError: they cannot be.
    """
    prepare_wandb()
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # where import paths of the user's own begin
    try:
        with explain_out_of_memory("training"), wandb_given_up(), quiet(), interruptible():
            done = TrainingCLI(
                replica_training,
                args=None if arguments is None or list(arguments) == sys.argv[1:] else list(arguments),
                save_config_callback=LoggedConfig,
                save_config_kwargs={"overwrite": True},
                seed_everything_default=False,
                trainer_defaults={"max_epochs": 1, "min_epochs": 0, "num_sanity_val_steps": 0},
                parser_kwargs={"prog": "lossact", **{name: _words(name, does) for name, does in TRAINING.items()}},
                parser_class=TrainingParser,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )
    except (MisconfigurationException, UnpicklingError, UnicodeDecodeError) as error:
        raise InputError(str(error)) from None
    except RuntimeError as error:
        if not str(error).startswith(UNLOGGED):
            raise
        raise InputError(str(error)) from None
    if done.subcommand != "fit" and not done._get(done.config, "ckpt_path"):
        print("no --ckpt_path is given: the weights are those before any update", file=sys.stderr)
    print(_outcome(done))


def _first(error: BaseException) -> str:
    """What began it: what a class says when it cannot be made stands deep inside."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return str(error)


def _outcome(done: TrainingCLI) -> str:
    module = done.model
    if done.subcommand == "predict":
        return f"predictions: {done.predictions.written}"
    if done.subcommand != "fit":
        return ""
    if isinstance(module, SingleNetworkModule):
        if module.diverged:
            return f"diverged before update {module.update_count + 1}"
        if module.steps_to_target is None:
            return f"the target was not met within {module.update_count} updates"
        return f"the target was met after {module.steps_to_target} updates"
    assert isinstance(module, StackedReplicasModule)
    outcome = module.outcome()
    steps = outcome.steps_to_target[outcome.reached]
    return f"{len(steps)} of {len(outcome.reached)} replicas met the target within {module.update_count} updates"
