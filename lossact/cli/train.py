"""`lossact fit`, `validate`, `test` and `predict`: Lightning's command line for one or many replicas."""

import os
import signal
import sys
import warnings
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
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lossact.checks import check_count, explain_out_of_memory
from lossact.cli.scheduled_arguments import with_schedules
from lossact.cli.training_commands import TRAINING
from lossact.conditions import Condition
from lossact.errors import InputError
from lossact.models.config import NetworkConfig
from lossact.replicas.engine import NEVER
from lossact.report.wandb_runs import define_axes, log_arrivals, prepare_wandb, wandb_given_up
from lossact.running.lightning_fit import EARLY_STOPPING
from lossact.running.training_module import training_module, trials_of
from lossact.stats.bands import bands
from lossact.training.base import ReplicasModule
from lossact.training.callbacks import PredictionFile, ReplicaLog, ReplicaTable, UpdatesBar, run_folder
from lossact.training.compute_config import Compiled
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
SAVED = "# lightning.pytorch=="  # how a config begins that LightningCLI's parser saved
NO_LAST = "there is no last checkpoint available"  # of Lightning's warning, and of its error:
NO_HPC = "no HPC checkpoint was found"


def _help_texts(command: str, description: str) -> dict[str, str]:
    checkpoint = "" if command == "fit" else " --ckpt_path CHECKPOINT"
    return {
        "usage": f"lossact {command} --config FILE [--config FILE ...] [--KEY VALUE ...]{checkpoint}",
        "description": f"{description[0].upper()}{description[1:]}. Every key of the config is also an option; later "
        "values win, and --print_config prints the result.",
    }


def replica_training(
    network: NetworkConfig,
    loss: str,
    seed: int = 0,
    replica: int = 0,
    replicas: int = 1,
    compiled: Compiled = "auto",
    precision: str = "32-true",
    **condition: Any,
) -> LightningModule:
    """Make the module that trains replicas of a condition.

    Args:
        network: MLPConfig, CNNConfig, or ModuleFactory for a function that returns a module.
        loss: cross_entropy, l2, huber or hinge, or the import path of a function (outputs, targets) -> losses.
        seed: Seed of the experiment, >= 0; replica r draws its data and initial weights from (seed, r).
        replica: Index of the first replica, >= 0.
        replicas: Number of replicas, 1 to 1,000,000; 1 is a plain network that takes every flag of the Trainer, more
            are stacked.
        compiled: Whether a compiler makes what trains stacked replicas; "auto" for where that pays.
        precision: Precision of the Trainer.
        **condition: Further arguments of the condition.
    """
    check_count("seed", seed, at_least=0, hint=0)
    check_count("replica", replica, at_least=0, hint=0)
    check_count("replicas", replicas, at_most=MOST_REPLICAS, hint=256)
    trained = Condition(network=network, loss=_loss(loss), **condition)
    indices = range(replica, replica + replicas)
    return training_module(trained, seed, indices, precision=precision, compiled=compiled)


def _loss(name: str) -> str | Callable[[Any, Any], Any]:
    """Return the name of a built-in loss as it is, or import the function at an import path."""
    module, _, function = name.rpartition(".")
    if not module:
        return name
    if not all(map(str.isidentifier, name.split("."))):
        raise InputError(f"loss={name!r} is no import path; give one such as project.losses.squared, or a loss's name")
    try:
        loss: Callable[[Any, Any], Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"loss={name!r} cannot be imported ({error}); give the import path of a function") from None
    return loss


def _precision(flag: Any) -> str:
    return {None: "32-true", "32": "32-true", "64": "64-true"}.get(flag if flag is None else str(flag), str(flag))


class LoggedConfig(SaveConfigCallback):
    """Save the whole config in the run's folder, and log it to every logger as the run's hyperparameters."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, ReplicasModule)
        folder = run_folder(trainer)
        given = {Path(str(file)).resolve() for file in self.config.get("config") or []}
        file = None if folder is None else folder / self.config_filename
        if file is not None and file.resolve() not in given and _is_saved_or_missing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, str(file), skip_none=False, overwrite=True, multifile=False)
        config = self.config.clone().as_dict()
        for logger in trainer.loggers:
            logger.log_hyperparams(
                dict(pl_module.metadata)
                | {name: _plain(config[name]) for name in ("model", "trainer", "data") if config.get(name)}
            )


def _is_saved_or_missing(file: Path) -> bool:
    """Return whether a config may be written there: nothing is there, or a config that an earlier run saved."""
    return not file.exists() or file.read_text(encoding="utf-8", errors="replace").startswith(SAVED)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


class WandbRun(Callback):
    """Give a run of WandbLogger its axes and name, and log the steps to target when training ends."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ReplicasModule)
        for logger in _wandb_loggers(trainer):
            define_axes(logger.experiment, pl_module.metric_name)
            if logger._name is None:  # its `name` is that of the project
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

    def instantiate_classes(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        return super().instantiate_classes(with_schedules(cfg), *args, **kwargs)


class TrainingCLI(LightningCLI):
    """LightningCLI with lossact's callbacks."""

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(replica_training, "model")  # ahead of the Trainer's many options
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in self.trainer_defaults.items()})
        parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True, required=False)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("trainer.precision", "model.precision", compute_fn=_precision)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path == "best":
            raise InputError("ckpt_path='best' is for the fit of one process; give the path of a checkpoint")
        if path == "last" and self.config.subcommand != "fit":  # a fit may begin without one
            warnings.filterwarnings("error", message=f".*{NO_LAST}")
        if not isinstance(path, str) or path in ("last", "hpc") or "://" in path:  # Lightning finds these
            return
        if not Path(path).is_file():
            raise InputError(f"ckpt_path={path!r} is no file; give a checkpoint that a fit has written")
        if not is_zipfile(path) or not any(name.endswith("/data.pkl") for name in ZipFile(path).namelist()):
            raise InputError(f"ckpt_path={path!r} is no checkpoint, or a damaged one; give one that a fit has written")

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except InputError:
            raise
        except (ValueError, TypeError, ImportError) as error:
            raise InputError(_first(error)) from None

    def instantiate_trainer(self, **flags: Any) -> Trainer:
        options = self._get(self.config_init, "trainer")
        callbacks = options.get("callbacks") or []
        self.predictions, self.table = PredictionFile(), ReplicaTable()
        callbacks = [*callbacks, ReplicaLog(), WandbRun(), self.predictions, self.table]
        has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        if options.get("enable_progress_bar") is not False and not has_bar:
            callbacks.append(UpdatesBar())
        try:
            return super().instantiate_trainer(callbacks=callbacks, **flags)
        except (ValueError, TypeError) as error:
            raise InputError(f"trainer: {error}") from None


def run(arguments: Sequence[str] | None) -> None:
    """Run `fit`, `validate`, `test` or `predict`, and print the outcome.

    Args:
        arguments: the subcommand and its options; None for those of the process.

    Raises:
        InputError: an option or the config is invalid, or the checkpoint cannot be read.
    """
    prepare_wandb()
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # so that a user's modules can be named by import path
    try:
        with explain_out_of_memory("training"), wandb_given_up(), quiet(), interruptible():
            cli = TrainingCLI(
                replica_training,
                args=None if arguments is None or list(arguments) == sys.argv[1:] else list(arguments),
                save_config_callback=LoggedConfig,
                save_config_kwargs={"save_to_log_dir": False},
                seed_everything_default=False,
                trainer_defaults={"max_epochs": 1, "min_epochs": 0, "num_sanity_val_steps": 0},
                parser_kwargs={
                    "prog": "lossact",
                    **{name: _help_texts(name, description) for name, description in TRAINING.items()},
                },
                parser_class=TrainingParser,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )
    except (MisconfigurationException, UnpicklingError, UnicodeDecodeError) as error:
        raise InputError(str(error)) from None
    except RuntimeError as error:
        if not str(error).startswith(EARLY_STOPPING):
            raise
        raise InputError(str(error)) from None
    except (UserWarning, ValueError) as error:
        if not any(words in str(error) for words in (NO_LAST, NO_HPC)):
            raise
        raise InputError("ckpt_path names no checkpoint that is there; give the path of one") from None
    except SIGTERMException:
        print(f"lossact {_command(arguments)}: terminated", file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM) from None
    if cli.subcommand != "fit" and not cli._get(cli.config, "ckpt_path"):
        print("no --ckpt_path is given: the weights are those before any update", file=sys.stderr)
    print(_outcome(cli))


def _command(arguments: Sequence[str] | None) -> str:
    return (sys.argv[1:] if arguments is None else arguments)[0]


def _first(error: BaseException) -> str:
    """Return the message of the first error in a chain, which holds the reason that a class gives."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return str(error)


def _outcome(cli: TrainingCLI) -> str:
    module = cli.model
    if cli.subcommand == "predict":
        return f"predictions: {cli.predictions.written}"
    if cli.subcommand != "fit":
        return ""
    if isinstance(module, SingleNetworkModule):
        if module.diverged:
            return f"diverged before update {module.update_count + 1}"
        if module.steps_to_target is None:
            return f"the target was not met within {module.update_count} updates"
        return f"the target was met after {module.steps_to_target} updates"
    assert isinstance(module, StackedReplicasModule)
    lines = _outcome_of_replicas(module)
    if cli.table.written is not None:
        lines.append(f"each replica: {os.path.relpath(cli.table.written)}")
    return "\n".join(lines)


def _outcome_of_replicas(module: StackedReplicasModule) -> list[str]:
    outcome = module.outcome()
    n_replicas, n_diverged = len(outcome.reached), outcome.diverged.sum()
    lines = []
    if module.criterion is not NEVER:
        met = f"{outcome.reached.sum()} of {n_replicas} replicas met the target"
        lines = [f"{met} within {module.update_count} updates"]
    if n_diverged < n_replicas:
        for name in module.recorder.plan.names:
            low, median, high = bands(name, outcome.values[name][~outcome.diverged]).values()
            lines.append(f"{name}: median {median:.4g}, 80% of replicas within [{low:.4g}, {high:.4g}]")
    if n_diverged:
        lines.append(f"{n_diverged} of {n_replicas} replicas diverged")
    return lines
