from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from lossact import (
    SGD,
    BaseCondition,
    Experiment,
    FunctionCondition,
    Hypothesis,
    MLPConfig,
    Store,
    all_of,
    evaluate,
    exact,
    faster,
    ordering,
    reaches,
)
from lossact.claims.axis import Axis
from lossact.claims.map import map_claim, map_conditions
from lossact.claims.pairs import Faster
from lossact.errors import LossactError
from lossact.report.map import map_figure
from lossact.report.map_page import write_map_page
from tests.conftest import report_condition

EASY = replace(report_condition("sigmoid", budget=30), name="CE")
HARD = replace(report_condition("sigmoid", "l2", budget=30), name="L2")
CLAIM = faster(EASY, than=HARD)
X = Axis.parse("optimizer.learning_rate=0.01:1:log:3")
Y = Axis.parse("network.initial_scale=1:3:2")


def test_an_axis_is_read_from_text() -> None:
    assert Axis("optimizer.learning_rate", (0.01, 0.1, 1.0), log=True) == X
    assert Axis.parse("data.label_rate=0.1:0.5:3").values == (0.1, 0.3, 0.5)


def test_each_cell_is_the_claim_at_its_place(experiment: Experiment) -> None:
    """Compare each cell with evaluate in a separate experiment."""
    claim_map = map_claim(CLAIM, x=X, y=Y, experiment=experiment, max_replicas=128)
    assert [len(row) for row in claim_map.cells] == [3, 3]
    assert claim_map.alpha == pytest.approx(0.025 / 6)
    assert claim_map.reference_point == (0.1, 1.0)
    for row, scale in enumerate(Y.values):
        for column, rate in enumerate(X.values):
            assert isinstance(EASY.optimizer, SGD)
            optimizer = replace(EASY.optimizer, learning_rate=rate)
            network = MLPConfig(activation="sigmoid", initial_scale=scale)
            there = [
                replace(condition, optimizer=optimizer, network=network, name=condition.name)
                for condition in (EASY, HARD)
            ]
            alone = evaluate(faster(there[0], than=there[1]), family_size=6, max_replicas=128)
            cell = claim_map.cells[row][column]
            assert (cell.name, cell.decision.decided_at) == (alone.name, alone.decision.decided_at)
            assert claim_map.at(rate, scale) == cell.hypothesis == faster(there[0], than=there[1])


def test_cells_that_are_decided_stop_and_stored_ones_are_not_trained(experiment: Experiment) -> None:
    first = map_claim(CLAIM, x=X, y=Y, experiment=experiment, max_replicas=256)
    assert min(cell.decision.replicas for cell in first.verdicts) == 64
    trained = experiment.trained_replicas
    again = map_claim(CLAIM, x=X, y=Y, experiment=experiment, max_replicas=256)
    assert [cell.decision for cell in again.verdicts] == [cell.decision for cell in first.verdicts]
    assert experiment.trained_replicas == trained
    finer = Axis(X.path, (0.01, 0.03, 0.1, 1.0), log=True)
    map_claim(CLAIM, x=finer, y=Y, experiment=experiment, max_replicas=64)
    assert experiment.trained_replicas == trained + 2 * 2 * 64


def test_a_map_keeps_no_curves_and_its_trials_are_those_of_the_claim(experiment: Experiment, tmp_path: Path) -> None:
    """Compare bit for bit with each condition trained alone."""
    quiet = Experiment(store=experiment.store, compute_config=experiment.compute_config, curves=False)
    claim_map = map_claim(CLAIM, x=X, y=Y, experiment=quiet, max_replicas=64)
    alone = Experiment(store=Store(tmp_path / "alone"), compute_config=experiment.compute_config)
    conditions = [condition for cell in claim_map.verdicts for condition in cell.hypothesis.conditions]
    for condition in conditions:
        (stored,), (trained,) = quiet.trials([condition], 64), alone.trials([condition], 64)
        np.testing.assert_array_equal(stored.steps, trained.steps)
        np.testing.assert_array_equal(stored.reached, trained.reached)
        assert quiet.curves(condition) is None
        assert alone.curves(condition) is not None


def test_a_corner_that_diverges_is_shown_and_leaves_the_rest_alone(experiment: Experiment) -> None:
    relu = [replace(report_condition("relu", loss, budget=60), name=loss) for loss in ("cross_entropy", "l2")]
    claim = faster(relu[0], than=relu[1])
    y = Axis("optimizer.weight_decay", (0.0, 5e-4))  # without it a network dies, and stays finite
    tame = map_claim(claim, x=Axis(X.path, (0.01, 0.1)), y=y, experiment=experiment, max_replicas=64)
    fierce = map_claim(claim, x=Axis(X.path, (0.01, 0.1, 1e12)), y=y, max_replicas=64)
    assert fierce.diverged().tolist() == [[False, False, False], [False, False, True]]
    assert "most replicas of a condition diverged in 1" in str(fierce)
    for before, after in zip(tame.cells, fierce.cells, strict=True):
        assert [cell.decision.value for cell in before] == [cell.decision.value for cell in after[:2]]
    assert len(map_figure(fierce).axes[0].patches) == 1


def test_the_page_shows_every_cell_and_escapes_hostile_names(experiment: Experiment, tmp_path: Path) -> None:
    claim = faster(replace(EASY, name="<script>alert(1)</script>"), than=HARD)
    claim_map = map_claim(claim, x=X, y=Y, experiment=experiment, max_replicas=64)
    text = write_map_page(tmp_path / "map.html", claim_map).read_text()
    assert text.count("<td") == 6
    assert text.count('class="here"') == 1
    for cell in claim_map.verdicts:
        assert f"{cell.decision.value:.3f} [{cell.decision.low:.3f}, {cell.decision.high:.3f}]" in text
    assert "<script" not in text
    assert "http" not in text


def test_the_best_cell_has_the_highest_lower_bound(experiment: Experiment) -> None:
    claim_map = map_claim(CLAIM, x=X, y=Y, experiment=experiment, max_replicas=128)
    best = max(claim_map.verdicts, key=lambda cell: cell.decision.low)
    assert claim_map.at(*claim_map.best()) == best.hypothesis


def test_a_map_in_a_notebook_needs_nothing_else() -> None:
    claim_map = map_claim(CLAIM, x="budget=1:2:2", y="network.hidden=2:3:2", max_replicas=64)
    assert str(claim_map).startswith("CE reaches the target before L2\n4 cells: ")


def arrives(seed: int, slowness: float, x: int) -> int:
    return int(np.random.default_rng(seed).integers(5, 50) * slowness)


def test_a_functions_own_settings_are_axes() -> None:
    quick, slow = (FunctionCondition(train=arrives, config={"slowness": s, "x": 1}, budget=500) for s in (1.0, 2.0))
    claim = faster(replace(quick, name="quick"), than=replace(slow, name="slow", version="slow"))
    claim_map = map_claim(claim, x="config.slowness=1:3:2", y="budget=200:500:2", max_replicas=8)
    assert claim_map.reference_point is None
    assert {cell.decision.value for cell in claim_map.verdicts} == {0.5}  # both are moved, and then alike
    with pytest.raises(LossactError, match=r"config.speed: config has no 'speed'; choose one of slowness, x"):
        map_claim(claim, x="config.speed=1:3:2", y="budget=200:500:2")


def test_a_number_written_as_an_integer_is_an_axis_too(experiment: Experiment) -> None:
    whole = [
        replace(condition, optimizer=SGD(learning_rate=1, momentum=0), name=condition.name)
        for condition in (EASY, HARD)
    ]
    claim_map = map_claim(
        faster(whole[0], than=whole[1]), x="optimizer.learning_rate=0.1:1:2", y="optimizer.momentum=0:0.9:2",
        experiment=experiment, max_replicas=64,
    )  # fmt: skip
    assert claim_map.reference_point == (1.0, 0.0)
    assert claim_map.cells[1][0].hypothesis.conditions[0].optimizer.momentum == 0.9  # type: ignore[attr-defined]


def test_moving_conditions_keeps_their_names_and_the_hypothesis() -> None:
    three = ordering(EASY, HARD, replace(EASY, loss="huber", name="Huber"))
    there = map_conditions(three, lambda condition: X.at(condition, 0.5))
    assert repr(there) == repr(three)
    assert {condition.optimizer.learning_rate for condition in there.conditions} == {0.5}  # type: ignore[attr-defined]


def arrives_at_rate(seed: int, rate: float, factor: float) -> int | None:
    steps = int(factor * 20 / rate + 10 * np.random.default_rng(seed).random())
    return steps if steps <= 100 else None


def test_every_member_of_a_claim_about_several_is_moved(experiment: Experiment) -> None:
    """Compare each cell with evaluate, of members that are made anew."""

    def claim(rate: float, budget: int) -> Hypothesis:
        quick, slow = (
            FunctionCondition(
                name=f"{factor}", train=arrives_at_rate, config={"rate": rate, "factor": factor}, budget=budget
            )
            for factor in (1.0, 1.5)
        )
        return all_of(faster(quick, than=slow), reaches(quick))

    rates, budgets = (0.1, 0.5, 1.0), (100, 200)
    claim_map = map_claim(
        claim(1.0, 100), x=Axis("config.rate", rates), y=Axis("budget", budgets), experiment=experiment
    )
    for row, budget in enumerate(budgets):
        for column, rate in enumerate(rates):
            alone = evaluate(claim(rate, budget), family_size=6)
            assert claim_map.cells[row][column].name == alone.name
            assert claim_map.at(rate, budget) == claim(rate, budget)
    assert {cell.name for cell in claim_map.verdicts} == {"supported", "refuted"}


def test_hypotheses_within_all_of_are_its_own_members() -> None:
    outer = all_of(reaches(EASY), all_of(faster(EASY, than=HARD), reaches(HARD)))
    assert outer == all_of(reaches(EASY), faster(EASY, than=HARD), reaches(HARD))


@dataclass(frozen=True, repr=False)
class Hidden(Faster):
    """Its conditions are in no field."""

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return self.condition, HARD


def test_conditions_that_cannot_be_moved_are_an_error(experiment: Experiment) -> None:
    with pytest.raises(LossactError, match=r"Hidden holds L2 where it cannot be changed; keep conditions in fields"):
        map_claim(Hidden(EASY, EASY, 1.0), x=X, y=Y, experiment=experiment)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_values_of_an_axis_are_finite(value: float) -> None:
    with pytest.raises(LossactError, match=r"budget=(inf|nan) must be a finite number"):
        Axis("budget", (value,))


def test_an_axis_is_an_axis_or_a_text() -> None:
    with pytest.raises(LossactError, match=r"x=\[1, 2\] must be an Axis, or a text: path=low:high:count"):
        map_claim(CLAIM, x=[1, 2], y="budget=100,200")  # type: ignore[arg-type]


def test_an_axis_may_list_its_values() -> None:
    assert Axis.parse("optimizer.learning_rate=1e-3,0.01,3") == Axis("optimizer.learning_rate", (1e-3, 0.01, 3.0))
    assert Axis.parse("budget=20") == Axis("budget", (20.0,))


def test_the_picture_shows_every_cell(experiment: Experiment) -> None:
    claim_map = map_claim(CLAIM, x=X, y=Y, experiment=experiment, max_replicas=64, exploratory=True)
    axes = map_figure(claim_map).axes[0]
    assert len(axes.texts) == 6
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert axes.get_xlabel() == "learning rate (log)"


def test_a_map_of_a_probability_turns_where_support_begins(tmp_path: Path) -> None:
    """Cells in which most replicas arrive, and too few for the claim, are red: as far below 0.9 as they are."""
    condition = FunctionCondition(train=arrives_at_rate, config={"rate": 1.0, "factor": 1.0}, budget=100)
    x, y = "config.rate=0.2:1:5", "budget=100:200:2"
    claim_map = map_claim(reaches(condition, low=0.9, high=0.95), x=x, y=y, max_replicas=32, exploratory=True)
    figure = map_figure(claim_map)
    (image,) = figure.axes[0].images
    middle, below = np.asarray(image.norm(np.array([0.9, 0.7])), np.float64)
    assert middle == 0.5
    assert below < 0.5
    note = figure.get_supxlabel()
    assert "line at 0.9" in note
    assert "within" not in note  # the budget is an axis
    assert "from 0 (red) to 1 (blue), white at 0.9" in write_map_page(tmp_path / "m.html", claim_map).read_text()


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ("learning_rate", "a=1:2:3", r"axis 'learning_rate' must be path=low:high:count"),
        ("a=1:2", "b=1:2:3", r"axis 'a=1:2' must be path=low:high"),
        ("a=1,x", "b=1:2:3", r"axis 'a=1,x' must be path=low:high:count, .* or path=value,value"),
        ("a=1,nan", "b=1:2:3", r"axis 'a=1,nan' must be path=low:high"),
        ("a=2,1", "b=1:2:3", r"a=2,1 must be increasing values"),
        ("a=0:1:log:4", "b=1:2:3", r"a's lowest value=0.0 must be > 0"),
        ("a=2:1:4", "b=1:2:3", r"a's highest value=1.0 must be > 2"),
        ("a=1:2:1", "b=1:2:3", r"a's count=1 must be an integer >= 2 and <= 10000; try 12"),
        ("a=1:2:1000000000", "b=1:2:3", r"a's count=1000000000 must be an integer"),
        (
            "optimiser.rate=1:2:3",
            "budget=10:20:2",
            r"Condition has no 'optimiser'; choose one of network, loss, optimi",
        ),
        ("optimizer.rate=1:2:3", "budget=10:20:2", r"SGD has no 'rate'; choose one of learning_rate, momentum"),
        ("optimizer=1:2:3", "budget=10:20:2", r"is no number; go on with one of optimizer.learning_rate"),
        ("loss=1:2:3", "budget=10:20:2", r"loss=cross_entropy is no number"),
        ("budget=10:11:3", "network.hidden=2:4:3", r"budget=10.5 must be an integer"),
        ("optimizer.momentum=0:2:3", "network.hidden=2:4:3", r"momentum=1.0 must be >= 0 and < 1"),
        ("budget=10:12:3", "budget=20:24:3", r"x=budget and y=budget must be two different numbers"),
    ],
)
def test_bad_axes_are_named(x: str, y: str, message: str, experiment: Experiment) -> None:
    with pytest.raises(LossactError, match=message):
        map_claim(CLAIM, x=Axis.parse(x), y=Axis.parse(y), experiment=experiment, max_replicas=64)


def test_a_theorem_has_no_map(experiment: Experiment) -> None:
    with pytest.raises(LossactError, match="has no conditions to move"):
        map_claim(exact("x", deviations=lambda: [0], tolerance=1), x=X, y=Y, experiment=experiment)


def test_an_axis_that_is_all_the_conditions_differ_in_is_an_error() -> None:
    quick, slow = (
        FunctionCondition(name=str(s), train=arrives, config={"slowness": s, "x": 1}, budget=500) for s in (1.0, 2.0)
    )
    with pytest.raises(
        LossactError, match=r"two are equal .*: 1.0 and 2.0 on the map, for an axis moves all conditions"
    ):
        map_claim(faster(quick, than=slow), x="config.slowness=1:3:2", y="budget=200:500:2")


CALLS = [0]


def remembers(seed: int, slowness: float, x: int) -> int:
    """Count its calls in a global list, which its code reads."""
    CALLS[0] += 1
    return arrives(seed, slowness, x)


def test_what_a_reader_should_know_of_training_is_noted_once_on_the_map(tmp_path: Path) -> None:
    quick, slow = (
        FunctionCondition(name=name, train=remembers, config={"slowness": s, "x": 1}, budget=500)
        for name, s in (("quick", 1.0), ("slow", 3.0))
    )
    claim_map = map_claim(faster(quick, than=slow), x="config.x=1:2:2", y="budget=400:500:2", max_replicas=64)
    note = "training changed values that the code of quick and slow reads"
    assert all(sum(note in warning for warning in cell.warnings) == 1 for cell in claim_map.verdicts)
    assert str(claim_map).count(f"\nnote: {note}") == 1
    page = write_map_page(tmp_path / "map.html", claim_map).read_text()
    assert page.count(f"<p class=detail>note: {note}") == 1
