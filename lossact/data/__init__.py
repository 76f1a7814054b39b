"""Data sets: generated per replica, or read from .npy files once."""

from lossact.data.files import ImageFiles
from lossact.data.image_set import ImageSet
from lossact.data.line_images import LineImages
from lossact.data.random_images import RandomImages

__all__ = ["ImageFiles", "ImageSet", "LineImages", "RandomImages"]
