"""The --claims-* options and their ini keys, parsed and checked once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lossact.errors import InputError
from lossact.report.files import check_folder, check_writable, checked_file, is_page
from lossact.requirements import check_extra

MOST_REPLICAS = 1_000_000_000
STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Values of the --claims-* options, each an attribute of its option's name."""

    max_replicas: int = 2048
    min_replicas: int = 1
    alpha: float = 0.025
    delta: float = 0.1
    seed: int = 0
    data: Path | None = None
    store: Path | None = field(default_factory=lambda: Path(".lossact").resolve())
    retrain: bool = False
    json: Path | None = None
    html: Path | None = None
    wandb: str = "disabled"
    executor: str = "local"
    accelerator: str = "cpu"
    compiled: bool = False
    eager: bool = False
    strict: bool = False
    plan: bool = False
    max_seconds: float | None = None

    def same_setting(self, other: "Options") -> bool:
        """Return whether verdicts under both options are about the same experiment."""

        def setting(options: Options) -> tuple[Any, ...]:
            return (options.max_replicas, options.alpha, options.delta, options.seed, options.data)

        return setting(self) == setting(other)

    def flags(self, of_project: "Options") -> tuple[str, ...]:
        """Return the command-line flags that reproduce a verdict: those that differ from the default or the project."""
        flags: list[str] = []
        for name in ("max_replicas", "min_replicas", "alpha", "delta", "seed", "data", "accelerator"):
            value = getattr(self, name)
            if value != getattr(Options(), name) or value != getattr(of_project, name):
                flags += ["--claims-" + name.replace("_", "-"), str(value)]
        for name in ("compiled", "eager"):
            if getattr(self, name) and not getattr(of_project, name):
                flags.append(f"--claims-{name}")
        return tuple(flags)


def _integer(at_least: int, at_most: int | None = None, *, hint: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = at_least - 1
        if value < at_least:
            raise InputError(f"must be an integer >= {at_least}; try {hint}")
        if at_most is not None and value > at_most:
            raise InputError(f"must be an integer <= {at_most:,}; try {hint}")
        return value

    return parse


def _probability(hint: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < 0.5:
            raise InputError(f"must lie between 0 and 1/2, both excluded; try {hint}")
        return value

    return parse


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError("must be a number of seconds > 0; try 60")
    return value


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise InputError(f"must be one of {', '.join(choices)}; try {choices[0]}")
        return text

    return parse


def _executor(text: str) -> str:
    if _choice("local", "ray")(text) == "ray":
        check_extra("ray", extra="ray", what="it")
    return text


def _flag(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
        raise InputError("must be true or false; write one of them")
    return text.lower() in {"true", "1", "yes", "on"}


def _directory(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_dir():
        raise InputError("must be a folder that exists; make it, or give another")
    return path


def _store(text: str) -> Path | None:
    if text == "none":
        return None
    path = Path(text).resolve()
    check_folder(path)
    return path


def output_file(text: str) -> Path:
    """Return the file that a run's JSON goes to, or STANDARD_OUTPUT."""
    if text == str(STANDARD_OUTPUT):
        return STANDARD_OUTPUT
    return checked_file(Path(text))


def _report(text: str) -> Path:
    if is_page(Path(text)):
        return output_file(text)
    path = Path(text).resolve()
    check_folder(path)
    return path


@dataclass(frozen=True)
class _Option:
    name: str
    metavar: str | None
    parse: Callable[[str], Any]
    help: str

    @property
    def flag(self) -> str:
        return "--claims-" + self.name.replace("_", "-")

    @property
    def ini(self) -> str:
        return "claims_" + self.name


OPTIONS = (
    _Option("max_replicas", "N", _integer(1, MOST_REPLICAS, hint=2048), "largest number of replicas (default: 2048)"),
    _Option(
        "min_replicas",
        "N",
        _integer(1, MOST_REPLICAS, hint=1),
        "smallest number of replicas, for a sharper effect than the verdict needs (default: 1)",
    ),
    _Option(
        "alpha", "A", _probability(0.025), "one-sided error probability for a whole family of claims (default: 0.025)"
    ),
    _Option("delta", "D", _probability(0.1), "smallest margin over 1/2 that matters (default: 0.1)"),
    _Option("seed", "S", _integer(0, hint=0), "seed of the experiment (default: 0)"),
    _Option(
        "data", "DIR", _directory, "folder of .npy data sets for claims that read it through the claims_data fixture"
    ),
    _Option("store", "PATH|none", _store, "folder that keeps trials (default: .lossact)"),
    _Option("retrain", None, _flag, "train again instead of using stored trials"),
    _Option(
        "json",
        "PATH",
        output_file,
        "write the verdicts as JSON to this file; - for standard output, with nothing else on it",
    ),
    _Option("html", "PATH", _report, "write a report: one page where PATH ends in .html, else a folder"),
    _Option(
        "wandb", "MODE", _choice("offline", "online", "disabled"), "log to W&B: offline, online or disabled (default)"
    ),
    _Option("executor", "NAME", _executor, "where replicas train: local (default, in this process) or ray"),
    _Option("accelerator", "NAME", _choice("cpu", "cuda", "mps"), "cpu (default), cuda or mps"),
    _Option(
        "compiled",
        None,
        _flag,
        "compile your networks, whatever the budget: slower to begin, faster where much is trained",
    ),
    _Option("eager", None, _flag, "train without a compiler: on a cluster whose machines have different ones"),
    _Option("plan", None, _flag, "train one block a claim and say how long a verdict would take; decide nothing"),
    _Option("max_seconds", "S", _seconds, "let no further look begin after S seconds of a claim; it goes on next time"),
    _Option("strict", None, _flag, "fail every claim that is not SUPPORTED"),
)


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini key."""
    group = parser.getgroup("claims", "claims about training (lossact)")
    for option in OPTIONS:
        if option.metavar is None:
            group.addoption(option.flag, action="store_const", const="true", default=None, help=option.help)
        else:
            group.addoption(option.flag, metavar=option.metavar, default=None, help=option.help)
        parser.addini(option.ini, help=option.help, default=None)


def read_options(config: pytest.Config) -> tuple[Options, Options]:
    """Return the options of this run, and those that recorded verdicts hold for: the ini file's alone.

    Relative paths are resolved against the current directory, so call this before a test can change it.

    Raises:
        pytest.UsageError: a value breaks its option's rule, or two outputs are one file.
    """
    recorded = in_force = Options()
    for option in OPTIONS:
        ini = config.getini(option.ini)
        if ini:
            recorded = replace(recorded, **{option.name: _parse(option.ini, ini, option)})
            in_force = replace(in_force, **{option.name: getattr(recorded, option.name)})
        text = config.getoption(option.flag)
        if text is not None:
            in_force = replace(in_force, **{option.name: _parse(option.flag, text, option)})
    if in_force.json is not None and in_force.json == in_force.html:
        raise pytest.UsageError(f"--claims-json and --claims-html are both {in_force.json}; give each its own file")
    if in_force.plan and in_force.retrain:
        raise pytest.UsageError(
            "a plan decides nothing, and with --claims-retrain it would throw stored trials away; leave out "
            "--claims-plan or --claims-retrain"
        )
    if in_force.compiled and in_force.eager:
        raise pytest.UsageError(
            "claims cannot train both compiled and eager; leave out --claims-compiled or --claims-eager"
        )
    return in_force, recorded


def _parse(name: str, text: str, option: _Option) -> Any:
    try:
        if not isinstance(text, str):
            raise InputError("must be one value, not several")
        if not text.strip():
            raise InputError("has no value; give one, or leave it out")
        return option.parse(text)
    except InputError as error:
        bad = InputError(f"{name}={text}: {error}")
    except (OSError, ValueError, RuntimeError) as error:  # too long, invalid characters, circular links
        bad = InputError(f"{name}={text}: cannot be a path ({error}); give another")
    raise pytest.UsageError(str(bad)) from bad


def check_output_places(options: Options) -> None:
    """Raise UsageError where a file that is asked for could not be written at the end.

    Args:
        options: of a run that has claims; other runs write none.

    Raises:
        UsageError: this user may not write there.
    """
    for flag, path in (("--claims-json", options.json), ("--claims-html", options.html)):
        if path not in (None, STANDARD_OUTPUT):
            try:
                check_writable(path)
            except InputError as error:
                raise pytest.UsageError(f"{flag}={path}: {error}") from error
