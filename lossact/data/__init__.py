"""Data sets: generated per replica, read from .npy files once, or anybody's arrays."""

from lossact.data.arrays import Arrays, Drawn
from lossact.data.files import ImageFiles
from lossact.data.image_set import ImageSet
from lossact.data.line_images import LineImages
from lossact.data.random_images import RandomImages
from lossact.data.source import DataSource

__all__ = ["Arrays", "DataSource", "Drawn", "ImageFiles", "ImageSet", "LineImages", "RandomImages"]
