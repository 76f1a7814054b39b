import re

import pytest

SUITE = """
import pytest

def test_passes():
    pass

def test_fails():
    assert 1 == 2

@pytest.mark.parametrize("x", [1, 2])
def test_many(x):
    print(x)

@pytest.mark.skip
def test_skipped():
    pass
"""


def outcome(run: pytest.RunResult) -> list[str]:
    """What was printed, less what differs between any two runs: times, and which process finished first."""
    lines = [line for line in run.outlines if not line.startswith("plugins:")]
    lines = [re.sub(r"in \d+\.\d+s|\[gw\d\]|=+", "-", line) for line in lines]  # "=" fills a line up to its width
    return ["".join(sorted(line)) if re.fullmatch(r"[.sF]+ +\[100%\]", line) else line for line in lines]


@pytest.mark.parametrize("arguments", [[], ["-v"], ["--collect-only"], ["-n", "2"], ["-W", "error"]], ids=" ".join)
def test_a_suite_without_claims_reads_as_without_the_plugin(pytester: pytest.Pytester, arguments: list[str]) -> None:
    pytester.makepyfile(SUITE)
    order = sorted if "-n" in arguments else list
    plugged = pytester.runpytest_subprocess(*arguments)
    plain = pytester.runpytest_subprocess(*arguments, "-p", "no:lossact")
    assert order(outcome(plugged)) == order(outcome(plain))
    assert plugged.ret == plain.ret
    assert not (pytester.path / ".lossact").exists()


def test_claims_collect_without_training(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n@pytest.mark.claim("s")\ndef test_claim():\n    assert 0\n')
    run = pytester.runpytest_subprocess("--collect-only", "--strict-markers")
    run.stdout.fnmatch_lines(["*test_claim*", "*1 test collected*"])
    assert not (pytester.path / ".lossact").exists()
