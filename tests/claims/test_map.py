from dataclasses import replace

import pytest

from lossact import Experiment, MLPConfig, evaluate, exact, faster, ordering
from lossact.claims.map import Axis, map_claim, moved
from lossact.errors import LossactError
from lossact.report.map import map_figure
from tests.conftest import report_condition

EASY = replace(report_condition("sigmoid", budget=60), name="CE")
HARD = replace(report_condition("sigmoid", "l2", budget=60), name="L2")
CLAIM = faster(EASY, than=HARD)
X = Axis.parse("optimizer.learning_rate=0.01:1:log:3")
Y = Axis.parse("network.initial_scale=1:3:2")


def test_an_axis_is_read_from_text() -> None:
    assert Axis("optimizer.learning_rate", (0.01, 0.1, 1.0), log=True) == X
    assert Axis.parse("data.label_rate=0.1:0.5:3").values == (0.1, 0.3, 0.5)


def test_each_cell_is_the_claim_at_its_place(experiment: Experiment) -> None:
    """Against evaluate, cell by cell, in an experiment of its own with its own launches."""
    found = map_claim(CLAIM, x=X, y=Y, experiment=experiment, max_replicas=128)
    assert [len(row) for row in found.cells] == [3, 3]
    assert found.alpha == pytest.approx(0.025 / 6)
    assert found.here == (0.1, 1.0)
    for row, scale in enumerate(Y.values):
        for column, rate in enumerate(X.values):
            optimizer = replace(EASY.optimizer, learning_rate=rate)
            network = MLPConfig(activation="sigmoid", initial_scale=scale)
            there = [replace(one, optimizer=optimizer, network=network, name=one.name) for one in (EASY, HARD)]
            alone = evaluate(faster(there[0], than=there[1]), family_size=6, max_replicas=128)
            cell = found.cells[row][column]
            assert (cell.verdict, cell.decided_at) == (alone.name, alone.decision.decided_at)
            assert found.at(rate, scale) == faster(there[0], than=there[1])


def test_cells_that_are_decided_stop_and_stored_ones_are_not_trained(experiment: Experiment) -> None:
    first = map_claim(CLAIM, x=X, y=Y, experiment=experiment, max_replicas=256)
    replicas = {cell.replicas for cell in first.decisions}
    assert min(replicas) == 64
    trained = experiment.trained_replicas
    again = map_claim(CLAIM, x=X, y=Y, experiment=experiment, max_replicas=256)
    assert again.cells == first.cells
    assert experiment.trained_replicas == trained
    finer = Axis(X.path, (0.01, 0.03, 0.1, 1.0), log=True)
    map_claim(CLAIM, x=finer, y=Y, experiment=experiment, max_replicas=64)
    assert experiment.trained_replicas == trained + 2 * 2 * 64


def test_moving_leaves_names_and_kind_alone() -> None:
    three = ordering(EASY, HARD, replace(EASY, loss="huber", name="Huber"))
    there = moved(three, lambda condition: X.at(condition, 0.5))
    assert repr(there) == repr(three)
    assert {condition.optimizer.learning_rate for condition in there.conditions} == {0.5}


def test_the_picture_shows_every_cell(experiment: Experiment) -> None:
    found = map_claim(CLAIM, x=X, y=Y, experiment=experiment, max_replicas=64, exploratory=True)
    axes = map_figure(found).axes[0]
    assert len(axes.texts) == 6
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert axes.get_xlabel() == "learning rate (log)"


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ("learning_rate", "a=1:2:3", r"axis 'learning_rate' must be path=low:high:count"),
        ("a=1:2", "b=1:2:3", r"axis 'a=1:2' must be path=low:high"),
        ("a=0:1:log:4", "b=1:2:3", r"a's lowest value=0.0 must be > 0"),
        ("a=2:1:4", "b=1:2:3", r"a's highest value=1.0 must be > 2"),
        ("a=1:2:1", "b=1:2:3", r"a's count=1 must be an integer >= 2"),
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
