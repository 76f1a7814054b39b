"""What other people's projects do with the plugin."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.pytest_plugin.conftest import CLAIMS, Claims

UNDER_XDIST = pytest.param(["-n", "2"], marks=pytest.mark.slow, id="xdist")
BOTH = pytest.mark.parametrize("processes", [pytest.param([], id="plain"), UNDER_XDIST])

RECORDED = CLAIMS.replace('common sense")', 'common sense", recorded="supported")')


STORE = ["--claims-seed", "7", "--claims-store", "elsewhere", "--claims-accelerator", "cpu"]
EVIDENCE = ["--claims-alpha", "0.01", "--claims-delta", "0.2", "--claims-html", "out/claims.html"]
OTHERS = ["--claims-data", ".", "--claims-executor", "local", "--claims-wandb", "disabled", "-W", "error"]
STRICT = ["--claims-strict", "--claims-retrain", "--claims-max-replicas", "64", "-k", "true"]


@pytest.mark.parametrize(
    ("arguments", "processes"),
    [
        *((arguments, []) for arguments in (STORE, EVIDENCE, OTHERS, STRICT)),
        *(
            pytest.param(arguments, ["-n", "2"], marks=pytest.mark.slow)
            for arguments in (STORE + EVIDENCE + OTHERS, STRICT)
        ),
    ],
    ids=" ".join,
)
def test_every_option_alone_and_under_xdist(claims: Claims, arguments: list[str], processes: list[str]) -> None:
    claims.write(RECORDED)
    run = claims.run(*arguments, *processes, subprocess=bool(processes))
    selected = "-k" in arguments
    run.assert_outcomes(passed=1, failed=0 if selected else 1, deselected=1 if selected and not processes else 0)
    verdicts = {name: claim["verdict"] for name, claim in claims.verdicts().items()}
    assert verdicts == {"test_true": "supported"} | ({} if selected else {"test_false": "refuted"})
    if "out/claims.html" in arguments:
        assert "SUPPORTED" in (claims.pytester.path / "out/claims.html").read_text()
    assert (claims.pytester.path / "elsewhere/trials.sqlite").exists() == ("elsewhere" in arguments)


@BOTH
def test_failing_first_and_last_failed(claims: Claims, processes: list[str]) -> None:
    claims.write(CLAIMS)
    options, subprocess = ["--claims-max-replicas", "64", *processes], bool(processes)
    claims.run("-x", *options, subprocess=subprocess).assert_outcomes(passed=1, failed=1)
    claims.run("--lf", *options, subprocess=subprocess).assert_outcomes(failed=1)


@BOTH
def test_junit_holds_the_verdict_without_a_warning(claims: Claims, processes: list[str]) -> None:
    claims.write(CLAIMS)
    run = claims.run(
        "--junitxml", "junit.xml", "--claims-max-replicas", "64", "-W", "error", *processes, subprocess=bool(processes)
    )
    run.stdout.no_fnmatch_line("*warnings summary*")
    cases = ElementTree.parse(claims.pytester.path / "junit.xml").getroot().iter("testcase")
    properties = {case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")} for case in cases}
    assert properties["test_true"]["verdict"] == "supported"
    assert properties["test_false"]["verdict"] == "refuted"
    assert properties["test_true"].keys() == {"verdict", "effect", "interval"}


PARAMETRISED = """
@pytest.mark.parametrize("budget", [40, 60])
@pytest.mark.claim("an easy target is met first")
def test_true(budget):
    return faster(condition("easy", target=0.6, budget=budget), than=condition("hard", target=0.99, budget=budget))
"""


def test_each_parameter_is_a_claim_of_the_family(claims: Claims) -> None:
    (claims.write(PARAMETRISED) / "family.toml").write_text("size = 2")
    claims.run().assert_outcomes(passed=2)
    decided = json.loads(claims.json.read_text())["claims"]
    assert {(claim["id"].partition("[")[2], claim["budget"], claim["family_size"]) for claim in decided} == {
        ("40]", 40, 2), ("60]", 60, 2),
    }  # fmt: skip


OWN_HYPOTHESIS = '''
from dataclasses import dataclass
from lossact import Hypothesis
from lossact.stats import Comparison, compare_numbers

@dataclass(frozen=True)
class BothArrive(Hypothesis):
    """Both conditions arrive, in more than half of the replicas."""

    one: object
    other: object

    @property
    def conditions(self):
        return (self.one, self.other)

    def comparisons(self, trials):
        both = trials[0].reached & trials[1].reached
        return [Comparison("both arrive", compare_numbers(both.astype(float), 0.5))]

    def __repr__(self):
        return f"{self.one} and {self.other} both arrive"

@pytest.mark.claim("both arrive")
def test_both():
    return BothArrive(EASY, condition("easier", target=0.5))
'''


def test_a_custom_hypothesis_is_decided(claims: Claims) -> None:
    claims.write(OWN_HYPOTHESIS)
    run = claims.run()
    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines(["SUPPORTED*both", "*easy and easier both arrive"])


OWN_STORE = """
from pathlib import Path
from lossact import Store

class Counting(Store):
    added = 0

    def add(self, *arguments):
        Counting.added += 1
        super().add(*arguments)

def pytest_claims_store(config):
    return Counting(Path(config.rootpath) / "mine")

def pytest_sessionfinish():
    print("BLOCKS", Counting.added)
"""


def test_a_custom_store_is_used(claims: Claims) -> None:
    folder = claims.write(CLAIMS)
    (folder / "conftest.py").write_text(OWN_STORE)
    claims.run("-s").stdout.fnmatch_lines(["*BLOCKS 2*"])
    assert Path(claims.pytester.path / "mine/trials.sqlite").is_file()


@pytest.mark.slow
def test_a_network_whose_file_was_edited_is_retrained(claims: Claims) -> None:
    """The network lives in a module that the claim's file only imports."""
    claims.pytester.makepyfile(
        mynet="from torch import nn\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(16, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0))\n"
    )
    claims.write(
        "from mynet import Net\n\ndef make():\n    return Net()\n\n"
        '@pytest.mark.claim("s")\ndef test_true():\n'
        "    own = Condition(name='own', network=make, loss='l2', optimizer=SGD(learning_rate=0.5),\n"
        "                    data=RandomImages(), budget=20, target=Accuracy().at_least(0.7))\n"
        "    return faster(own, than=condition('hard', target=0.99, budget=20))\n"
    )
    paths = ["-o", "pythonpath=."]
    claims.run(*paths, subprocess=True).stdout.fnmatch_lines(["*training own*"])
    claims.run(*paths, subprocess=True).stdout.no_fnmatch_line("*training*")
    file = claims.pytester.path / "mynet.py"
    file.write_text(file.read_text().replace("nn.Linear(16, 3)", "nn.Linear(16, 4)").replace("(3, 1)", "(4, 1)"))
    again = claims.run(*paths, subprocess=True)
    again.stdout.fnmatch_lines(["*training own*"])
    again.stdout.no_fnmatch_line("*training hard*")


@pytest.mark.slow
def test_threads_do_not_spin_where_a_conftest_loads_torch(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    folder = claims.write()
    (folder / "conftest.py").write_text("import os, torch\nFIRST = os.environ.get('OMP_WAIT_POLICY')\n")
    (folder / "test_first.py").write_text(
        "def test_first():\n    import conftest\n    assert conftest.FIRST == 'passive'\n"
    )
    claims.run("-k", "first", "-n", "2", subprocess=True).assert_outcomes(passed=1)
    claims.run("-k", "first", subprocess=True).assert_outcomes(passed=1, deselected=2)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    claims.run("-k", "first", subprocess=True).assert_outcomes(failed=1, deselected=2)
