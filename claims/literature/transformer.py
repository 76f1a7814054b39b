"""A small transformer that copies a sequence, with layer norms before or after each part of a block."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as f

TOKENS = 6  # the first is the blank, under which the copy is to appear
LENGTH = 4
WIDTH = 16


class Block(nn.Module):
    """Attention and a layer of hidden units, each added to its input; norms stand first, or after each addition."""

    def __init__(self, norms_first: bool) -> None:
        super().__init__()
        self.norms_first = norms_first
        self.queries_keys_values, self.mixed = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.hidden, self.output = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.attention_norm, self.hidden_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def attend(self, inputs: Tensor) -> Tensor:
        queries, keys, values = self.queries_keys_values(inputs).chunk(3, dim=-1)
        weights = torch.softmax(queries @ keys.transpose(-1, -2) / math.sqrt(WIDTH), dim=-1)
        return self.mixed(weights @ values)  # type: ignore[no-any-return]

    def transform(self, inputs: Tensor) -> Tensor:
        return self.output(torch.relu(self.hidden(inputs)))  # type: ignore[no-any-return]

    def forward(self, inputs: Tensor) -> Tensor:
        if self.norms_first:
            inputs = inputs + self.attend(self.attention_norm(inputs))
            return inputs + self.transform(self.hidden_norm(inputs))
        inputs = self.attention_norm(inputs + self.attend(inputs))
        return self.hidden_norm(inputs + self.transform(inputs))  # type: ignore[no-any-return]


class Copier(nn.Module):
    """Six blocks on a sequence that is followed by as many blanks; puts out the copy, (examples, TOKENS, LENGTH)."""

    def __init__(self, norms_first: bool) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(TOKENS, WIDTH), nn.Parameter(torch.randn(2 * LENGTH, WIDTH))
        self.blocks = nn.Sequential(*(Block(norms_first) for _ in range(6)))
        self.last_norm = nn.LayerNorm(WIDTH) if norms_first else nn.Identity()
        self.output = nn.Linear(WIDTH, TOKENS)

    def forward(self, sequences: Tensor) -> Tensor:
        states = self.blocks(self.tokens(sequences) + self.places)
        return self.output(self.last_norm(states[:, LENGTH:])).transpose(1, 2)  # type: ignore[no-any-return]


def sequences_to_copy(generator: np.random.Generator) -> Any:
    """Draw 512 sequences to learn from and 64 to be judged by."""

    def draw(number: int) -> tuple[Any, Any]:
        words = generator.integers(1, TOKENS, (number, LENGTH))
        return np.concatenate([words, np.zeros_like(words)], axis=1), words

    return *draw(512), draw(64)


def copying_loss(outputs: Tensor, words: Tensor) -> Tensor:
    """Return each example's cross-entropy, the mean over its places."""
    return f.cross_entropy(outputs, words, reduction="none").mean(1)


def share_copied(outputs: Tensor, words: Tensor) -> Tensor:
    """Return the share of places at which the right token has the largest output."""
    return (outputs.argmax(1) == words).to(outputs.dtype).mean()
