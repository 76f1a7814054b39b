"""Activations, normalisation, optimisers, batches and losses."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from claims.literature.networks import glorot, he, mlp
from lossact import SGD, Accuracy, Adam, Condition, Hypothesis, faster, not_worse, reaches

Make = Callable[..., Condition]


@pytest.mark.claim(
    "ReLU reaches the target several times faster than tanh",
    source="Krizhevsky et al., ImageNet classification with deep convolutional neural networks, NeurIPS 2012",
    recorded="refuted",
)
def test_relu_beats_tanh_twofold(on_digits: Make) -> Hypothesis:
    return faster(
        on_digits("ReLU", partial(mlp, nn.ReLU, 4, 32, he)),
        than=on_digits("tanh", partial(mlp, nn.Tanh, 4, 32, glorot)),
        ratio=2,
    )


@pytest.mark.claim(
    "units die under too large a learning rate with ReLU, and leaky ones do not",
    source="Maas et al., Rectifier nonlinearities improve neural network acoustic models, ICML 2013",
    recorded="refuted",
)
def test_leaky_relu_survives_large_steps(on_digits: Make) -> Hypothesis:
    large = SGD(learning_rate=0.3)
    return faster(
        on_digits("leaky ReLU", partial(mlp, nn.LeakyReLU, 4, 32, he), optimizer=large, budget=300),
        than=on_digits("ReLU", partial(mlp, nn.ReLU, 4, 32, he), optimizer=large, budget=300),
    )


@pytest.mark.claim(
    "batch normalisation makes learning faster",
    source="Ioffe and Szegedy, Batch normalization, ICML 2015",
    recorded="supported",
)
def test_batch_norm_is_faster(on_digits: Make) -> Hypothesis:
    return faster(
        on_digits("batch norm", partial(mlp, nn.Sigmoid, 3, 32, glorot, True)),
        than=on_digits("plain", partial(mlp, nn.Sigmoid, 3, 32, glorot)),
    )


@pytest.mark.claim(
    "momentum makes learning faster",
    source="Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013",
    recorded="supported",
)
def test_momentum_is_faster(on_digits: Make) -> Hypothesis:
    network = partial(mlp, nn.Tanh, 3, 32, glorot)
    return faster(
        on_digits("momentum 0.9", network, optimizer=SGD(learning_rate=0.01, momentum=0.9)),
        than=on_digits("no momentum", network, optimizer=SGD(learning_rate=0.01)),
    )


@pytest.mark.claim(
    "Adam at its defaults is faster than SGD with momentum at a learning rate of 0.01",
    source="Kingma and Ba, Adam, ICLR 2015",
    recorded="refuted",
)
def test_adam_is_faster(on_digits: Make) -> Hypothesis:
    network = partial(mlp, nn.ReLU, 3, 32, he)
    return faster(
        on_digits("Adam", network, optimizer=Adam()),
        than=on_digits("SGD", network, optimizer=SGD(learning_rate=0.01, momentum=0.9)),
    )


@pytest.mark.claim(
    "twice the batch, with twice the step, needs at most half of the updates",
    source="Shallue et al., Measuring the effects of data parallelism on neural network training, JMLR 2019",
    recorded="refuted",
)
def test_twice_the_batch_needs_half_of_the_updates(on_digits: Make) -> Hypothesis:
    network = partial(mlp, nn.Tanh, 3, 32, glorot)
    return faster(
        on_digits("batches of 16", network, batch_size=16, measured_every=5, optimizer=SGD(learning_rate=0.2)),
        than=on_digits("batches of 8", network, batch_size=8, measured_every=5, optimizer=SGD(learning_rate=0.1)),
        ratio=2,
    )


def squared_error(outputs: Tensor, classes: Tensor) -> Tensor:
    """Of outputs against 0 and 1, summed over the classes."""
    return ((outputs - (torch.arange(10) == classes.unsqueeze(1)).to(outputs.dtype)) ** 2).sum(1)


HUI = "Hui and Belkin, Evaluation of neural architectures trained with square loss vs cross-entropy, ICLR 2021"


@pytest.mark.claim(
    "with square loss digits are recognised as well in the end: 95% within 600 updates",
    source=HUI,
    recorded="supported",
)
def test_square_loss_gets_there(on_digits: Make) -> Hypothesis:
    network = partial(mlp, nn.ReLU, 3, 32, he)
    target, adam = Accuracy(split="validation").at_least(0.95), Adam(learning_rate=0.003)
    return reaches(
        on_digits("square loss, 95%", network, loss=squared_error, optimizer=adam, target=target, budget=600)
    )


@pytest.mark.claim("... and no later than with cross-entropy", source=HUI, recorded="refuted")
def test_square_loss_is_no_slower(on_digits: Make) -> Hypothesis:
    network = partial(mlp, nn.ReLU, 3, 32, he)
    return not_worse(
        on_digits("square loss", network, loss=squared_error, optimizer=Adam()),
        than=on_digits("cross-entropy", network, optimizer=Adam()),
    )
