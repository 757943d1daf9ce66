"""Folders, manifests and arrays as rows with labels and groups; duplicates, splits, preprocessing."""

from unseen.data.duplicates import Duplicates, duplicates, merge_groups, near_duplicates, thumbnail
from unseen.data.images import Unreadable, read_image
from unseen.data.inputs import FeatureArray, ImageArray, ImageFiles, Inputs, Progress
from unseen.data.listing import open_inputs
from unseen.data.preprocess import Preprocess
from unseen.data.split import split

__all__ = [
    "Duplicates",
    "FeatureArray",
    "ImageArray",
    "ImageFiles",
    "Inputs",
    "Preprocess",
    "Progress",
    "Unreadable",
    "duplicates",
    "merge_groups",
    "near_duplicates",
    "open_inputs",
    "read_image",
    "split",
    "thumbnail",
]
