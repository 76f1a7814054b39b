"""A store that has seen a lot."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lossact import Store
from lossact.experiment import Experiment, default_compute_config
from lossact.storage import Trials
from lossact.storage.key import key_content
from tests.conftest import PAIRS, report_condition

CLAIMS = """
import pytest
from lossact import faster
from tests.conftest import PAIRS, report_condition

@pytest.mark.parametrize("k", range(1, 4))
@pytest.mark.claim("the first of the pairs arrives first")
def test_first(k):
    return faster(report_condition(*PAIRS[0]), than=report_condition(*PAIRS[k]))
"""
TRIALS = 1_000_000


@pytest.mark.slow
def test_a_million_trials_answer_from_the_store(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with Store(tmp_path / ".lossact") as store:
        experiment = Experiment(store=store, compute_config=default_compute_config())
        for k, pair in enumerate(PAIRS):
            condition = report_condition(*pair)
            content = key_content(condition, 0, experiment.compute_config)
            for first in range(0, TRIALS // 4, TRIALS // 40):
                reached = rng.random(TRIALS // 40) < 1 - k / 5
                steps = np.where(reached, rng.integers(100 * (k + 1), 1000, TRIALS // 40), 0)
                trials = Trials(steps, reached, np.zeros(len(steps), bool), 1000)
                store.add(experiment.key(condition), content, first, trials, None)
        assert store.count() == TRIALS
    size = sum(file.stat().st_size for file in (tmp_path / ".lossact").rglob("*") if file.is_file())
    assert size < 17.5 * TRIALS  # docs/options.md says about 17 MB for a million
    (tmp_path / "test_claims.py").write_text(CLAIMS)
    command = [sys.executable, "-m", "pytest", "-q", "--claims-json=verdicts.json", "-p", "no:cacheprovider"]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": root}, timeout=300)
    claims = json.loads((tmp_path / "verdicts.json").read_text())["claims"]
    assert [claim["verdict"] for claim in claims] == ["supported"] * 3, done.stdout
    assert "training" not in done.stdout
