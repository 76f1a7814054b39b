import numpy as np
import pytest

from lossact import RandomImages
from lossact.errors import InputError
from lossact.replicas.random_streams import DATA, WEIGHTS, replica_generator


def test_pixels_are_fair_coins_and_labels_have_their_rate() -> None:
    sets = [RandomImages().sample(replica_generator(0, replica, DATA)) for replica in range(400)]
    pixels = np.stack([drawn.inputs for drawn in sets])
    labels = np.stack([drawn.targets for drawn in sets])
    assert set(np.unique(pixels)) == {0, 1}
    # Four standard errors of a share p of n draws: 4 sqrt(p (1 - p) / n).
    assert abs(pixels.mean() - 0.5) < 4 * 0.5 / np.sqrt(pixels.size)
    rate = 11 / 64
    assert abs(labels.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / labels.size)


def test_a_replica_draws_the_same_whoever_else_is_drawn() -> None:
    alone = RandomImages().sample(replica_generator(3, 77, DATA))
    for replica in range(77):
        replica_generator(3, replica, DATA).random(1000)
    again = RandomImages().sample(replica_generator(3, 77, DATA))
    np.testing.assert_array_equal(alone.inputs, again.inputs)
    np.testing.assert_array_equal(alone.targets, again.targets)


def test_seeds_replicas_and_purposes_draw_differently() -> None:
    draws = [
        replica_generator(seed, replica, stream).random(8)
        for seed in (0, 1, 2**32, 2**32 + 1)
        for replica in (0, 1, 2**40)
        for stream in (DATA, WEIGHTS)
    ]
    assert len({draw.tobytes() for draw in draws}) == len(draws)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_images", 0, "n_images=0 must be an integer >= 1; try 64"),
        ("n_images", 6.4, "n_images=6.4 must be an integer >= 1; try 64"),
        ("width", -1, "width=-1 must be an integer >= 1; try 4"),
        ("height", True, "height=True must be an integer >= 1; try 4"),
        ("label_rate", 0.0, "label_rate=0.0 must be > 0 and < 1; try 11 / 64"),
        ("label_rate", float("nan"), "label_rate=nan must be > 0 and < 1; try 11 / 64"),
    ],
)
def test_bad_values_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        RandomImages(**{field: value})  # type: ignore[arg-type]
    assert str(error.value) == message
