"""Faults around a run: it continues with a message, or stops with one clear error."""

import importlib.metadata
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossact import Store
from lossact.cli import main
from lossact.errors import InputError
from lossact.requirements import check_requirements
from tests.pytest_plugin.conftest import CLAIMS, Claims
from tests.test_train_command import config

IMPATIENT = """
import lossact.report.wandb_runs
lossact.report.wandb_runs.ANSWERS_WITHIN = 3.0
"""
KILLED = """
import os, subprocess
import lossact.report.wandb_runs as runs

log = runs._log_condition

def log_and_kill(*given):
    subprocess.run(["pkill", "-9", "-P", str(os.getpid()), "wandb-core"], check=True)
    log(*given)

runs._log_condition = log_and_kill
"""
UNREACHED = """
import wandb
from wandb.sdk.lib.service.service_token import WandbServiceConnectionError
from wandb.sdk.mailbox import MailboxClosedError

def raises(error):
    def raise_it(*_, **__):
        raise error
    return raise_it

wandb.init = raises(WandbServiceConnectionError("Failed to connect"))
wandb.teardown = raises(MailboxClosedError())
"""


def decided(out: str) -> None:
    """Whatever else is lost, verdicts are printed and no traceback is."""
    assert "SUPPORTED     1.000  [0.897, 1.000]         64  true" in out
    assert "REFUTED       0.000  [0.000, 0.103]         64  false" in out
    assert "Traceback" not in out


def run(claims: Claims, *options: str, **environment: str) -> str:
    """Run claims in a new process with only these environment variables, and return what it prints."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "claims", *options]
    done = subprocess.run(
        command,
        cwd=claims.pytester.path,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout + done.stderr


@pytest.fixture
def small_disk(claims: Claims) -> Iterator[Path]:
    """A file system of 512 KiB in the project's .lossact."""
    folder = claims.pytester.path / ".lossact"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_with_one_error_and_the_next_goes_on(claims: Claims, small_disk: Path) -> None:
    claims.write(
        CLAIMS.replace("EASY", "condition('easy', budget=250, target=0.9)").replace(
            "HARD", "condition('hard', budget=250, target=1.0)"
        )
    )
    output = run(claims, "--claims-min-replicas=512")
    assert "No space left on device); make room or give another directory; what it holds stays good" in output
    assert "no claim can be decided: store" in output
    assert "Traceback" not in output
    assert "1 failed in" in output  # and the other was not tried
    with Store(small_disk) as store:
        stored = store.count()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert "effect" in run(claims, "--claims-min-replicas=512")
    with Store(small_disk) as store:
        assert store.count() == 1024 > stored


@pytest.mark.slow
def test_a_read_only_store_is_one_error(claims: Claims, small_disk: Path) -> None:
    claims.write()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    output = run(claims)
    assert "Read-only file system" in output
    assert "give another directory, or none" in output
    assert "Traceback" not in output
    decided(run(claims, "--claims-store=none"))


@pytest.mark.slow
def test_without_a_home_directory(claims: Claims) -> None:
    claims.write()
    output = run(claims, "--claims-wandb=offline", "--claims-html=report", HOME="/nowhere/at/all")
    decided(output)
    assert "offline in .lossact/wandb" in output
    assert (claims.pytester.path / "report" / "index.html").is_file()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections: list[socket.socket] = []
        threading.Thread(target=_take, args=(server, connections), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for connection in connections:
            connection.close()


def _take(server: socket.socket, connections: list[socket.socket]) -> None:
    while True:
        try:
            connections.append(server.accept()[0])
        except OSError:
            return


@pytest.mark.slow
@pytest.mark.parametrize("refuses", [True, False])
def test_a_wandb_server_that_is_down_costs_no_verdict(claims: Claims, silent_server: str, refuses: bool) -> None:
    (claims.write() / "conftest.py").write_text(IMPATIENT)
    url = "http://127.0.0.1:9" if refuses else silent_server
    output = run(claims, "--claims-wandb=online", WANDB_BASE_URL=url, WANDB_API_KEY="0" * 40)
    decided(output)
    assert "W&B: Timed out" in output or "W&B: Run initialization has timed out" in output
    assert "; what is printed above stands" in output
    decided(run(claims, "--claims-wandb=offline"))  # from the store


@pytest.mark.slow
@pytest.mark.parametrize("conftest", [KILLED, UNREACHED], ids=["killed", "unreached"])
def test_a_wandb_service_that_is_gone_costs_no_verdict(claims: Claims, conftest: str) -> None:
    (claims.write() / "conftest.py").write_text(conftest)
    output = run(claims, "--claims-wandb=offline")
    decided(output)
    assert "; what is printed above stands" in output


@pytest.mark.slow
def test_a_fit_without_a_wandb_login_is_one_error(tmp_path: Path) -> None:
    online = "--trainer.logger.init_args.offline=false"
    command = [sys.executable, "-m", "lossact.cli", "fit", config("mlp_sigmoid_l2"), config("with/wandb"), online]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2
    assert "lossact fit: W&B: No API key configured" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("package", "old_version", "message"),
    [
        ("torch", "2.3.0", r"torch is 2.3.0, which lossact does not work with; pip install 'torch<3,>=2.7'"),
        ("pytest", "7.4.4", r"pytest is 7.4.4, which lossact does not work with; pip install 'pytest<10,>=8[.0-9]*'"),
        ("lightning", "1.9.5", r"lightning is 1.9.5, which .* pip install 'lightning<3,>=2[.0-9]*'"),
    ],
)
def test_a_package_too_old_is_named(
    package: str, old_version: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = importlib.metadata.version
    monkeypatch.setattr("importlib.metadata.version", lambda name: old_version if name == package else installed(name))
    with pytest.raises(InputError, match=message):
        check_requirements()


def test_a_package_too_old_ends_a_run_and_a_command(
    claims: Claims, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.1")
    claims.write()
    assert claims.run().ret == pytest.ExitCode.USAGE_ERROR
    with pytest.raises(SystemExit):
        main(["surfaces", "--out", str(tmp_path)])
    assert "lossact surfaces: " in capsys.readouterr().err


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three packages are not installed."""
    installed = importlib.metadata.version

    def version(name: str) -> str:
        if name in ("wandb", "plotly", "jsonargparse"):
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr("importlib.metadata.version", version)


@pytest.mark.usefixtures("without")
def test_claims_do_without_packages_that_they_do_not_use(claims: Claims) -> None:
    claims.write()
    claims.run("-k", "true").assert_outcomes(passed=1)
    outcome = claims.run("--claims-wandb=offline")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(["ERROR: wandb is missing, which lossact needs for this; pip install 'wandb>=*'"])


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(
    ("command", "missing"),
    [
        (["surfaces"], "plotly is missing"),
        (["fit"], "jsonargparse is missing, wandb is missing"),
        (["compare", "wandb:who/what", "--value", "loss", "--by", "lr"], "wandb is missing"),
        (["map", "claims", "--x", "budget=1,2", "--y", "seed=1,2", "--wandb", "offline"], "wandb is missing"),
    ],
)
def test_a_command_that_uses_a_missing_package_names_it(
    command: list[str], missing: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        main([*command, *([] if command[0] == "compare" else ["--out", str(tmp_path)])])
    assert f"lossact {command[0]}: {missing}, which lossact needs for this; pip install" in capsys.readouterr().err


def test_no_claim_no_check(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.1")
    pytester.makepyfile("def test_of_somebody_elses(): pass")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)
