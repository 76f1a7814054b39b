"""What the report says about who reaches 100% accuracy first, one claim per sentence."""

from dataclasses import replace

import pytest

from lossact import Condition, Hypothesis, MLPConfig, faster, fastest, gap_grows, ordering, slowest


@pytest.mark.claim(
    "with sigmoid units, L2 learns more slowly than cross-entropy",
    source="report 1.4c",
    recorded="supported",
)
def test_a5_sigmoid_l2_is_slow(sigmoid_ce: Condition, sigmoid_l2: Condition) -> Hypothesis:
    return faster(sigmoid_ce, than=sigmoid_l2)


@pytest.mark.claim(
    "with sigmoid units, L2 falls farther behind cross-entropy when badly initialised",
    source="report 1.4c",
    recorded="inconclusive",
)
def test_a5_gap_grows_with_initial_scale(sigmoid_ce: Condition, sigmoid_l2: Condition) -> Hypothesis:
    """Badly initialised: weights four times as large at the start, so that units are saturated."""

    def badly(condition: Condition) -> Condition:
        network = MLPConfig(activation="sigmoid", hidden=4, initial_scale=4.0)
        return replace(condition, network=network, name=f"{condition} from weights x4")

    return gap_grows((sigmoid_ce, sigmoid_l2), to=(badly(sigmoid_ce), badly(sigmoid_l2)))


@pytest.mark.claim(
    "with sigmoid units, cross-entropy learns much faster than L2",
    source="report 1.4c",
    recorded="inconclusive",
)
def test_a6_sigmoid_ce_is_twice_as_fast(sigmoid_ce: Condition, sigmoid_l2: Condition) -> Hypothesis:
    """Much faster: in at most half of the updates."""
    return faster(sigmoid_ce, than=sigmoid_l2, ratio=2)


@pytest.mark.claim("with ReLU units, L2 learns faster than cross-entropy", source="report 1.4c", recorded="refuted")
def test_a7_relu_l2_beats_relu_ce(relu_l2: Condition, relu_ce: Condition) -> Hypothesis:
    return faster(relu_l2, than=relu_ce)


@pytest.mark.claim(
    "the four pairs arrive in the order of the report's figure",
    source="report 2.1.5",
    recorded="refuted",
)
def test_a8_order_of_the_four(all_four: tuple[Condition, ...]) -> Hypothesis:
    return ordering(*all_four)


@pytest.mark.claim("sigmoid with L2 is the slowest of the four", source="report 2.1.5", recorded="supported")
def test_a9_sigmoid_l2_is_slowest(sigmoid_l2: Condition, all_four: tuple[Condition, ...]) -> Hypothesis:
    return slowest(sigmoid_l2, of=all_four)


@pytest.mark.claim("ReLU with L2 is the fastest of the four", source="report 2.1.5", recorded="refuted")
def test_a10_relu_l2_is_fastest(relu_l2: Condition, all_four: tuple[Condition, ...]) -> Hypothesis:
    return fastest(relu_l2, of=all_four)


@pytest.mark.claim(
    "cross-entropy learns better with sigmoid than with ReLU units",
    source="report 2.1.5",
    recorded="supported",
)
def test_a11_ce_prefers_sigmoid(sigmoid_ce: Condition, relu_ce: Condition) -> Hypothesis:
    return faster(sigmoid_ce, than=relu_ce)
