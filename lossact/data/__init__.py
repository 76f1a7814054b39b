"""Data sets: generated per replica, read from .npy files, or given as arrays."""

from lossact.data.arrays import Arrays, GeneratedData
from lossact.data.dataset import Dataset
from lossact.data.files import ImageFiles
from lossact.data.line_images import LineImages
from lossact.data.random_images import RandomImages
from lossact.data.saved import SavedArrays
from lossact.data.source import DataSource
from lossact.data.variations import NoisyLabels, Subset

__all__ = [
    "Arrays",
    "DataSource",
    "Dataset",
    "GeneratedData",
    "ImageFiles",
    "LineImages",
    "NoisyLabels",
    "RandomImages",
    "SavedArrays",
    "Subset",
]
