"""What networks are worth after a fixed budget: schedules, averages, regularisation, sizes and batches."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional as f

from claims.literature.muon import Muon
from claims.literature.networks import he, mlp
from lossact import (
    EMA,
    SGD,
    Accuracy,
    Adam,
    AdamW,
    Condition,
    Experiment,
    Hypothesis,
    Loss,
    Metric,
    NoisyLabels,
    Partition,
    Subset,
    TorchOptimizer,
    cosine,
    decreases,
    exceeds,
    higher,
    lower,
)

Make = Callable[..., Condition]
NETWORK = partial(mlp, nn.ReLU, 2, 64, he)
ACCURACIES = {"accuracy": Accuracy(split="validation"), "training accuracy": Accuracy()}


@pytest.fixture(scope="session")
def scarce(digits: Any) -> Any:
    """300 of the digits to learn from, other ones for each replica."""
    return Subset(digits, n_examples=300)


@pytest.fixture(scope="session")
def after_300(on_digits: Make, scarce: Any) -> Make:
    """Makes a condition that is measured after 300 updates, and has no target."""

    def make(name: str, network: Any = NETWORK, **changes: Any) -> Condition:
        given: dict[str, Any] = {
            "data": scarce, "target": None, "measures": ACCURACIES, "budget": 300, "measured_every": 300,
        }  # fmt: skip
        return on_digits(name, network, **given | changes)

    return make


@pytest.mark.claim(
    "a rate that warms up and falls along a cosine ends at a higher accuracy than a constant one",
    source="Loshchilov and Hutter, SGDR, ICLR 2017",
    recorded="refuted",
)
def test_cosine_ends_higher(after_300: Make) -> Hypothesis:
    return higher(
        "accuracy",
        after_300("cosine", optimizer=SGD(learning_rate=cosine(0.3, warmup=40))),
        than=after_300("constant", optimizer=SGD(learning_rate=0.3)),
    )


@pytest.mark.claim(
    "an average of the weights is more accurate than the last ones",
    source="Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018",
    recorded="refuted",
)
def test_averaged_weights_are_better(after_300: Make) -> Hypothesis:
    return higher(
        "accuracy",
        after_300("EMA", optimizer=SGD(learning_rate=1.0), average=EMA(0.98)),
        than=after_300("constant, 1.0", optimizer=SGD(learning_rate=1.0)),
    )


def smoothed(outputs: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy with a tenth of the label spread over all classes."""
    return f.cross_entropy(outputs, classes, label_smoothing=0.1, reduction="none")


ECE = Metric(torchmetrics.CalibrationError(task="multiclass", num_classes=10), split="validation")


@pytest.mark.claim(
    "label smoothing lowers the calibration error",
    source="Müller, Kornblith and Hinton, When does label smoothing help?, NeurIPS 2019",
    recorded="refuted",
)
def test_label_smoothing_calibrates(after_300: Make) -> Hypothesis:
    measures = {"calibration error": ECE}
    adam = Adam(learning_rate=0.003)
    return lower(
        "calibration error",
        after_300("smoothed", loss=smoothed, measures=measures, optimizer=adam),
        than=after_300("hard labels", measures=measures, optimizer=adam),
    )


@pytest.mark.claim(
    "weight decay raises the accuracy where a fifth of the labels is wrong",
    source="Krogh and Hertz, A simple weight decay can improve generalization, NeurIPS 1991",
    recorded="supported",
)
def test_weight_decay_helps_with_noisy_labels(after_300: Make, scarce: Any) -> Hypothesis:
    noisy = NoisyLabels(scarce, rate=0.2)
    return higher(
        "accuracy",
        after_300("decay", data=noisy, optimizer=SGD(learning_rate=0.3, weight_decay=0.01)),
        than=after_300("no decay", data=noisy, optimizer=SGD(learning_rate=0.3)),
    )


@pytest.mark.claim(
    "with weight decay AdamW ends at a higher accuracy than Adam with the same decay in its gradient",
    source="Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019",
    recorded="supported",
)
def test_decoupled_decay_is_better(after_300: Make) -> Hypothesis:
    return higher(
        "accuracy",
        after_300("AdamW", optimizer=AdamW(learning_rate=0.003, weight_decay=0.1)),
        than=after_300("Adam, L2", optimizer=Adam(learning_rate=0.003, weight_decay=0.1)),
    )


def with_noise(inputs: Tensor) -> Tensor:
    """Images with noise of three tenths of a pixel's range."""
    return inputs + 0.3 * torch.randn_like(inputs)


@pytest.mark.claim(
    "noise on the inputs raises the accuracy",
    source="Bishop, Training with noise is equivalent to Tikhonov regularization, Neural Computation 1995",
    recorded="supported",
)
def test_noise_on_inputs_helps(after_300: Make, digits: Any) -> Hypothesis:
    few = Subset(digits, n_examples=100)
    return higher("accuracy", after_300("noise", data=few, augment=with_noise), than=after_300("plain", data=few))


def with_dropout() -> nn.Module:
    """Make the network with half of its hidden units left out at a time."""
    layers: list[nn.Module] = []
    for layer in NETWORK().children():
        layers += [layer, nn.Dropout(0.5)] if isinstance(layer, nn.ReLU) else [layer]
    return nn.Sequential(*layers)


@pytest.mark.claim(
    "dropout raises the accuracy",
    source="Srivastava et al., Dropout, JMLR 2014",
    recorded="refuted",
)
def test_dropout_helps(after_300: Make) -> Hypothesis:
    return higher("accuracy", after_300("dropout", with_dropout), than=after_300("plain"))


def narrower_gap(dropout: Any, plain: Any) -> Any:
    """Return by how much the gap between training and validation accuracy is smaller with dropout."""
    gaps = [trials.values["training accuracy"] - trials.values["accuracy"] for trials in (plain, dropout)]
    return gaps[0] - gaps[1]


@pytest.mark.claim(
    "dropout narrows the gap between training and validation accuracy",
    source="Srivastava et al., Dropout, JMLR 2014",
    recorded="supported",
)
def test_dropout_narrows_the_gap(after_300: Make) -> Hypothesis:
    return exceeds(narrower_gap, 0, of=[after_300("dropout", with_dropout), after_300("plain")], name="narrower gap")


@pytest.mark.claim(
    "wider networks end at a lower training loss, from 8 to 128 units",
    source="Neyshabur, Tomioka and Srebro, In search of the real inductive bias, ICLR Workshop 2015",
    recorded="supported",
)
def test_wider_networks_fit_better(after_300: Make) -> Hypothesis:
    measures = {"loss": Loss()}
    widths = (8, 16, 32, 64, 128)
    return decreases(
        "loss",
        [
            (width, after_300(f"width {width}", partial(mlp, nn.ReLU, 2, width, he), measures=measures))
            for width in widths
        ],
    )


@pytest.mark.claim(
    "a deep network ends at a higher accuracy than a wide one with as many parameters",
    source="Ba and Caruana, Do deep nets really need to be deep?, NeurIPS 2014",
    recorded="refuted",
)
def test_deep_is_better_than_wide(after_300: Make) -> Hypothesis:
    return higher(
        "accuracy",
        after_300("4 layers of 32", partial(mlp, nn.ReLU, 4, 32, he)),  # 5,578 parameters
        than=after_300("1 layer of 74", partial(mlp, nn.ReLU, 1, 74, he)),  # 5,560
    )


EVERY_20 = tuple(range(20, 300, 20))


def gain_of_stopping(trials: Any) -> Any:
    """Return by how much test accuracy is higher where the validation loss is lowest than at the end."""
    moments = [f"@{update}" for update in EVERY_20] + [""]
    losses, accuracies = (
        np.stack([trials.values[name + moment] for moment in moments]) for name in ("validation loss", "test accuracy")
    )
    stopped = np.take_along_axis(accuracies, losses.argmin(0)[np.newaxis], 0)[0]
    return stopped - accuracies[-1]


@pytest.mark.claim(
    "where a fifth of the labels is wrong, training that stops at the lowest validation loss ends more accurate",
    source="Prechelt, Early stopping - but when?, Neural Networks: Tricks of the Trade, 1998",
    recorded="supported",
)
def test_early_stopping_helps_with_noisy_labels(after_300: Make, digits_to_test: Any) -> Hypothesis:
    measures = {"validation loss": Loss(split="validation"), "test accuracy": Accuracy(split="test")}
    noisy = NoisyLabels(Subset(digits_to_test, n_examples=300), rate=0.2)
    trained = after_300(
        "noisy labels", data=noisy, optimizer=SGD(learning_rate=0.3), measures=measures, measured_at=EVERY_20
    )
    return exceeds(gain_of_stopping, 0, of=[trained], name="gain of early stopping")


class Two(nn.Module):
    """Two networks that see the same batches, and differ in their initial weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = NETWORK(), NETWORK()

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.first(images), self.second(images)], dim=1)


def loss_of_two(outputs: Tensor, classes: Tensor) -> Tensor:
    """Sum of the cross-entropies of two networks, so that each learns as if it were alone."""
    return f.cross_entropy(outputs[:, 0], classes, reduction="none") + f.cross_entropy(
        outputs[:, 1], classes, reduction="none"
    )


def correct_alone(outputs: Tensor, classes: Tensor) -> Tensor:
    """Whether the first network is right."""
    return (outputs[:, 0].argmax(1) == classes).float()


def correct_together(outputs: Tensor, classes: Tensor) -> Tensor:
    """Whether the mean of both networks' probabilities is right."""
    return (outputs.softmax(2).mean(1).argmax(1) == classes).float()


def gain_of_two(trials: Any) -> Any:
    """Return by how much both are more accurate together than the first one alone."""
    return trials.values["together"] - trials.values["alone"]


@pytest.mark.claim(
    "two networks that answer together are more accurate than one",
    source="Hansen and Salamon, Neural network ensembles, IEEE PAMI 1990",
    recorded="supported",
)
def test_two_networks_are_better_than_one(after_300: Make) -> Hypothesis:
    measures = {
        "alone": Metric(correct_alone, split="validation"),
        "together": Metric(correct_together, split="validation"),
    }
    two = after_300("two networks", Two, loss=loss_of_two, measures=measures)
    return exceeds(gain_of_two, 0, of=[two], name="gain of a second network")


@pytest.mark.claim(
    "small batches end at a higher accuracy than large ones after as many updates at one rate",
    source="Keskar et al., On large-batch training for deep learning, ICLR 2017",
    recorded="refuted",
)
def test_small_batches_generalise_better(after_300: Make) -> Hypothesis:
    return higher("accuracy", after_300("batches of 8", batch_size=8), than=after_300("batches of 128", batch_size=128))


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon moves a parameter: a matrix within, neither the first nor the last."""
    return name == "2.weight"


@pytest.mark.claim(
    "with Muon for the hidden matrix the training loss ends lower than with AdamW for all",
    source="Jordan et al., Muon, 2024",
    recorded="supported",
)
def test_muon_fits_better(after_300: Make) -> Hypothesis:
    measures = {"loss": Loss()}
    adamw = AdamW(learning_rate=cosine(0.003))
    muon = Partition(is_hidden_matrix, TorchOptimizer(Muon, stacked=True, lr=cosine(0.02)), adamw)
    return lower(
        "loss",
        after_300("Muon", optimizer=muon, measures=measures),
        than=after_300("AdamW", optimizer=adamw, measures=measures),
    )


@pytest.fixture(scope="session")
def best_rate(claims_experiment: Callable[[int], Experiment]) -> Callable[..., float]:
    """Returns the rate with the lowest median of the training loss, over 16 replicas that decide no claim."""

    def choose(conditions: dict[float, Condition]) -> float:
        trials = claims_experiment(1_000).trials(list(conditions.values()), 16)
        losses = [np.nanmedian(each.values["loss"]) for each in trials]
        return list(conditions)[int(np.nanargmin(losses))]

    return choose


@pytest.mark.claim(
    "... also where each has the best of three rates, chosen on other seeds",
    source="Jordan et al., Muon, 2024",
    recorded="supported",
)
def test_muon_fits_better_at_its_best_rate(after_300: Make, best_rate: Callable[..., float]) -> Hypothesis:
    measures = {"loss": Loss()}

    def adamw(rate: float) -> Condition:
        return after_300(f"AdamW at {rate}", optimizer=AdamW(learning_rate=cosine(rate)), measures=measures)

    adamw_rate = best_rate({rate: adamw(rate) for rate in (0.003, 0.01, 0.03)})

    def muon(rate: float) -> Condition:
        matrix = TorchOptimizer(Muon, stacked=True, lr=cosine(rate))
        optimizer = Partition(is_hidden_matrix, matrix, AdamW(learning_rate=cosine(adamw_rate)))
        return after_300(f"Muon at {rate}", optimizer=optimizer, measures=measures)

    muon_rate = best_rate({rate: muon(rate) for rate in (0.01, 0.02, 0.05)})
    return lower("loss", muon(muon_rate), than=adamw(adamw_rate))
