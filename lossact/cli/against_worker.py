"""One side of lossact against, in a process of its own: python -P -c SOURCE ROOT WORKING_TREE.

It is run from its source, whichever lossact the side has, and imports that of the side. ROOT takes the place of
WORKING_TREE on the import path first. Each line of standard input is a request in JSON, each line of standard output
its answer; what the user's code prints goes to standard error.
"""

import json
import os
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import Any

# Words in names of measures by which lower values are known to be better, or higher ones.
LOWER = {"loss", "logloss", "nll", "bce", "error", "err", "mse", "rmse", "mae", "wer", "perplexity", "ppl"}
HIGHER = {"accuracy", "acc", "f1", "auc", "auroc", "precision", "recall", "iou", "dice", "bleu"}
OLD = "its lossact is too old to be asked ({}); install a newer one there, or compare with a later revision"


class SideError(Exception):
    """A reason in the side's code or environment, for the user."""


class Places:
    """Which paths belong to the working tree: those below it, but for the side's files and the environment's packages.

    Args:
        root: top folder of the side's files.
        working_tree: that of the working tree.
    """

    def __init__(self, root: Path, working_tree: Path) -> None:
        self.root, self.working_tree = root, working_tree
        environment = (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())
        self._environment = [path for path in map(_resolved, environment) if path.is_relative_to(working_tree)]

    def is_of_working_tree(self, path: Path) -> bool:
        """Return whether a resolved path is the working tree's own."""
        if not path.is_relative_to(self.working_tree) or path.is_relative_to(self.root):
            return False
        return not any(path.is_relative_to(part) for part in self._environment)

    def replaced(self, entry: str) -> str:
        """Return an entry of the import path with the side's files in place of the working tree's."""
        path = _resolved(entry)
        return str(self.root / path.relative_to(self.working_tree)) if self.is_of_working_tree(path) else entry


def _resolved(path: str) -> Path:
    return Path(os.path.realpath(path))


def replace_working_tree(root: Path, working_tree: Path) -> list[str]:
    """Put the side's files in place of the working tree's on the import path, the environment's packages left alone.

    Args:
        root: top folder of the side's files.
        working_tree: that of the working tree.

    Returns:
        the folders of the side in which packages are found.
    """
    places = Places(root, working_tree)
    sys.path[:] = [places.replaced(entry) for entry in sys.path]
    folders = list(sys.path)
    for finder in sys.meta_path:  # that editable packages are found by
        module = sys.modules.get(getattr(finder, "__module__", ""))
        of_setuptools = [getattr(module, name, None) for name in ("MAPPING", "NAMESPACES")]
        of_editables = getattr(finder, "_redirections", None)
        for mapping in (*of_setuptools, of_editables):
            if isinstance(mapping, dict):
                for name, paths in mapping.items():
                    is_single = isinstance(paths, str)
                    mapping[name] = places.replaced(paths) if is_single else list(map(places.replaced, paths))
                    folders += [os.path.dirname(path) for path in ([mapping[name]] if is_single else mapping[name])]
    sys.path_importer_cache.clear()
    return [
        folder for folder in dict.fromkeys(folders) if folder and _resolved(folder).is_relative_to(_resolved(str(root)))
    ]


def python_path(folders: list[str], root: Path, working_tree: Path) -> str:
    """Return the PYTHONPATH by which programs that the side starts find its files, and not the working tree's.

    Args:
        folders: of the side in which packages are found.
        root: top folder of the side's files.
        working_tree: that of the working tree.
    """
    places = Places(root, working_tree)
    given = [places.replaced(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return os.pathsep.join(dict.fromkeys([*given, *folders]))


def check_path(root: Path, working_tree: Path) -> None:
    """Raise SideError where the import path leads to links that setuptools made, each to a file of the working tree."""
    for entry in map(Path, sys.path) if root != working_tree else ():
        if entry.name.startswith("__editable__.") and entry.is_relative_to(root):
            raise SideError(
                f"the project is installed as {entry.name}, a folder of links to the working tree's files (pip "
                "install -e with editable_mode=strict); install it by pip install -e . alone"
            )


def check_modules(root: Path, working_tree: Path) -> None:
    """Raise SideError where a module was loaded from the working tree all the same."""
    if root == working_tree:
        return
    places = Places(root, working_tree)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or Path(os.path.abspath(file)).is_relative_to(root):  # linked files are asked for
            continue
        if places.is_of_working_tree(_resolved(file)):
            raise SideError(
                f"the module {name} was loaded from the working tree ({file}), not from the revision; put the working "
                "tree on the path by PYTHONPATH or pip install -e alone, and not in a claims file or conftest.py"
            )


class Worker:
    """Collects the conditions of claims once, and trains them when asked.

    Args:
        root: top folder of the side's files.
        working_tree: that of the working tree.
    """

    def __init__(self, root: Path, working_tree: Path) -> None:
        self.root, self.working_tree = root, working_tree
        self.conditions: list[Any] = []
        self.experiment: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request."""
        return self.train(request) if request["do"] == "train" else self.collect(request)

    def collect(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the conditions of the selected claims, each once, with all that its key holds."""
        try:
            import lossact
            from lossact.conditions import RecordedRuns
            from lossact.errors import StoreError
            from lossact.experiment import Experiment, default_compute_config
            from lossact.pytest_plugin.collect import collect_hypotheses
            from lossact.storage import Store
            from lossact.storage.key import key_content

            torch = import_module("torch")  # last: where lossact is missing too, that is what to install
        except ModuleNotFoundError as error:
            name, _, inner = str(error.name).partition(".")
            if name != "lossact" or not inner:
                raise SideError(f"{sys.executable} has no {name}; install lossact there") from None
            raise SideError(OLD.format(error)) from None
        except ImportError as error:
            raise SideError(OLD.format(error)) from None
        check_path(self.root, self.working_tree)
        missing = [word for word in request["selection"] if not Path(word.partition("::")[0]).exists()]
        if missing and not missing[0].startswith("-"):
            raise SideError(f"has no {missing[0]}; commit the claims first, or name claims that both sides have")
        hypotheses = collect_hypotheses(request["selection"])
        check_modules(self.root, self.working_tree)
        claims: dict[Any, list[str]] = {}
        recorded: list[str] = []
        for claim, hypothesis in hypotheses.items():
            for condition in hypothesis.conditions:
                if isinstance(condition, RecordedRuns):
                    recorded.append(condition.name)
                else:
                    claims.setdefault(condition, []).append(claim)
        config = default_compute_config(device=request["device"])
        store_error = None
        try:
            store = Store(request["store"])
        except StoreError as error:  # of a revision of lossact itself, say, whose store has another form
            store, store_error = Store(request["spare"]), str(error)
        self.experiment = Experiment(seed=request["seed"], store=store, compute_config=config)
        self.conditions = list(claims)
        described = []
        for condition, of in claims.items():
            content = key_content(condition, request["seed"], config)
            described.append(describe(condition) | {"claims": of, "content": content})
            described[-1]["key"] = self.experiment.key(condition)
        names = ", ".join(dict.fromkeys(recorded))
        notes = [f"runs that were recorded already are not trained, and left out: {names}"] if recorded else []
        check_modules(self.root, self.working_tree)
        versions = {"python": sys.version.split()[0], "torch": torch.__version__, "lossact": lossact.__version__}
        return {"conditions": described, "notes": notes, "versions": versions, "store_error": store_error}

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train conditions up to given numbers of replicas, and write their trials: a file each."""
        before = self.experiment.trained_replicas
        folder = Path(request["to"])
        folder.mkdir(exist_ok=True)
        for replicas in sorted({replicas for _, replicas in request["wanted"]}):
            together = [index for index, wanted in request["wanted"] if wanted == replicas]
            conditions = [self.conditions[index] for index in together]
            for index, trials in zip(together, self.experiment.trials(conditions, replicas), strict=True):
                curves = self.experiment.curves(self.conditions[index]) if request["curves"] else None
                write_trials(folder / f"{index}.npz", trials.first(replicas), curves)
        check_modules(self.root, self.working_tree)
        files = [str(folder / f"{index}.npz") for index, _ in request["wanted"]]
        return {"files": files, "trained": self.experiment.trained_replicas - before}


def describe(condition: Any) -> dict[str, Any]:
    """Return what the other end has to know of a condition."""
    return {
        "name": condition.name,
        "block": condition.block,
        "launch": getattr(condition, "launch", condition.block),  # an older lossact does not say
        "budget": condition.budget,
        "has_target": condition.has_target,
        "equal_steps": condition.equal_steps,
        "seed_advice": condition.seed_advice,
        "values": {
            name: {
                "direction": direction(condition, name),
                "is_share": condition.is_share(name),
                "at_end": condition.measured_after(name) == condition.budget,
            }
            for name in condition.value_names
        },
    }


def direction(condition: Any, value_name: str) -> str | None:
    """Return which values of a measure are better, "higher" or "lower", None where that is unknown."""
    from lossact.conditions import Accuracy, Best, Loss

    name, _, _ = value_name.partition("@")
    measures = condition.measures
    measure = measures[name] if isinstance(measures, dict) or hasattr(measures, "items") else None
    for each in measures if measure is None else ():
        measure = each if isinstance(each, Best) and each.name == name else measure
    if isinstance(measure, Best):
        return "higher" if measure.mode == "max" else "lower"
    if isinstance(measure, Accuracy | Loss):
        return "higher" if isinstance(measure, Accuracy) else "lower"
    words = set(name.lower().replace("/", "_").replace("-", "_").replace(" ", "_").split("_"))
    return "lower" if words & LOWER else "higher" if words & HIGHER else None


def write_trials(file: Path, trials: Any, curves: Any) -> None:
    """Write trials as arrays, with the loss and the metric of the curves that are kept."""
    import numpy as np

    kept = {} if curves is None else {"loss": curves.loss[: len(trials)], "metric": curves.metric[: len(trials)]}
    np.savez(
        file,
        steps=trials.steps,
        reached=trials.reached,
        diverged=trials.diverged,
        run_digests=trials.run_digests,
        budget=trials.budget,
        **kept,
        **{f"value/{name}": values for name, values in trials.values.items()},
    )


def expected_errors() -> tuple[type[Exception], ...]:
    """Return what says in its message why there is no answer."""
    try:
        from lossact.errors import LossactError
    except ImportError:  # as collect will say
        return (SideError,)
    return (SideError, LossactError)


def run(root: Path, working_tree: Path) -> None:
    """Answer requests until there are no more."""
    expected = expected_errors()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # for the user's code, and all that it starts
        worker = Worker(root, working_tree)
        for line in sys.stdin:
            try:
                answer = worker.answer(json.loads(line))
            except expected as error:
                answer = {"error": str(error)}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    side, tree = Path(sys.argv[1]), Path(sys.argv[2])
    of_side = replace_working_tree(side, tree)
    if side != tree:
        os.environ["PYTHONPATH"] = python_path(of_side, side, tree)
    run(side, tree)
