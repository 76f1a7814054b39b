import sys
from pathlib import Path

import pytest

from lossact.cli import main

CLAIMS = """
@pytest.mark.claim("the fast one is faster")
def test_order():
    return ordering(fast, slow)

@pytest.mark.claim("a theorem")
def test_theorem():
    return exact("0 = 0", deviations=lambda: [0.0], tolerance=1e-12)
"""


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "test_claims", raising=False)
    file = tmp_path / "test_claims.py"
    file.write_text(
        "import pytest\nfrom lossact import SGD, Condition, MLPConfig, RandomImages, exact, ordering\n"
        "def condition(name, rate):\n"
        "    return Condition(name=name, network=MLPConfig(hidden=2, activation='sigmoid'), loss='l2',\n"
        "        optimizer=SGD(learning_rate=rate), data=RandomImages(n_images=8, height=2, width=2), budget=6)\n"
        "fast, slow, number = condition('fast/L2', 1.0), condition('slow', 0.01), 3\n" + CLAIMS
    )
    return file


def test_a_claim_gives_curves_arrivals_and_its_order(
    claims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["curves", f"{claims}::test_order", "--out", str(out), "--replicas", "64"]) == 0
    stems = ["curves_fast_L2", "curves_slow", "curves", "arrivals", "order"]
    assert capsys.readouterr().out.split() == [str(out / f"{stem}.{kind}") for stem in stems for kind in ("png", "svg")]
    for stem in stems:
        assert (out / f"{stem}.png").read_bytes().startswith(b"\x89PNG")


def test_a_condition_by_its_name_gives_its_own_figures(claims: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["curves", f"{claims}::slow", "--out", str(out), "--replicas", "64", "--store", "none"]) == 0
    assert {file.stem for file in out.iterdir()} == {"curves_slow", "arrivals"}


@pytest.mark.parametrize(("every", "stems"), [(2, {"curves_values"}), (6, set())])
def test_a_condition_without_a_target_has_no_arrivals_and_curves_where_they_were_measured(
    claims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], every: int, stems: set[str]
) -> None:
    with claims.open("a") as file:
        file.write(
            "from dataclasses import replace\nfrom lossact import Loss\n"
            f"values = replace(slow, name='values', target=None, measures={{'l': Loss()}}, measured_every={every})\n"
        )
    out = tmp_path / "out"
    arguments = ["curves", f"{claims}::values", "--out", str(out), "--replicas", "64", "--store", "none"]
    if stems:
        assert main(arguments) == 0
    else:
        with pytest.raises(SystemExit):
            main(arguments)
        assert "there is no target to reach and no curve to draw" in capsys.readouterr().err
    assert {file.stem for file in out.iterdir()} == stems


def test_arrivals_are_of_conditions_with_a_target_alone(claims: Path, tmp_path: Path) -> None:
    with claims.open("a") as file:
        file.write(
            "from dataclasses import replace\nfrom lossact import Loss, higher\n"
            "values = replace(slow, name='values', target=None, measures={'l': Loss()})\n"
        )
    out = tmp_path / "out"
    both = [f"{claims}::values", f"{claims}::slow"]
    assert main(["curves", *both, "--out", str(out), "--replicas", "64", "--store", "none"]) == 0
    drawn = (out / "arrivals.svg").read_text()
    assert 'id="series-0"' in drawn
    assert 'id="series-1"' not in drawn


def test_names_of_one_slug_have_figures_of_their_own(
    claims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with claims.open("a") as file:
        file.write("up, down = condition('lr+', 1.0), condition('lr-', 0.01)\n")
    both = [f"{claims}::up", f"{claims}::down"]
    assert main(["curves", *both, "--out", str(tmp_path / "out"), "--replicas", "64", "--store", "none"]) == 0
    stems = {Path(line).stem for line in capsys.readouterr().out.split()}
    assert stems == {"curves_lr", "curves_lr_2", "curves", "arrivals"}


def test_a_store_without_curves_is_named(claims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = ["--x", "batch_size=4", "--y", "budget=6", "--max-replicas", "64"]
    with claims.open("a") as file:
        file.write("@pytest.mark.claim('x')\ndef test_pair():\n    from lossact import faster\n")
        file.write("    from dataclasses import replace\n")
        file.write("    return faster(replace(fast, batch_size=4), than=replace(slow, batch_size=4))\n")
    assert main(["map", f"{claims}::test_pair", *axes, "--out", str(tmp_path / "maps")]) == 0
    assert main(["curves", f"{claims}::test_pair", "--out", str(tmp_path / "out"), "--replicas", "64"]) == 0
    assert "note: the store has no curves of fast/L2, slow, as after lossact map" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"), [("1 / 0\n", "ZeroDivisionError: division by zero"), ("(\n", "SyntaxError")]
)
def test_a_file_that_cannot_be_read_is_named(
    content: str, message: str, claims: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.py").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        main(["curves", "broken.py::a", "--out", "out"])
    assert stopped.value.code == 2
    assert f"lossact curves: broken.py: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("test_claims.py::number", "test_claims.py::number must be a claim"),
        ("test_claims.py::absent", "it is None"),
        ("nowhere.py::slow", "there is no Python file nowhere.py"),
        ("test_claims.py::test_nothing", "no claim there"),
        ("test_claims.py::test_theorem", "nothing is trained there"),
    ],
)
def test_anything_but_a_condition_is_refused_in_one_line(
    selection: str, message: str, claims: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["curves", selection, "--out", "out"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert not Path("out").exists()
