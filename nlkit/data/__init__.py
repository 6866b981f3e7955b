"""Where images and labels come from: arrays in memory, photographs, human annotations, files of labels, features."""

from nlkit.data.catalog import data_root, load_dataset, status, verify
from nlkit.data.dataset import Dataset
from nlkit.data.features import read_feature_file
from nlkit.data.fetch import get
from nlkit.data.human import human_labels
from nlkit.data.labels import read_label_file
from nlkit.data.photo_catalog import SOURCES as PHOTO_SOURCES
from nlkit.data.photo_catalog import load_photos
from nlkit.data.photo_check import verify_photos
from nlkit.data.photo_list import PhotoList, PhotoSet

__all__ = [
    "Dataset",
    "PHOTO_SOURCES",
    "PhotoList",
    "PhotoSet",
    "data_root",
    "get",
    "human_labels",
    "load_dataset",
    "load_photos",
    "read_feature_file",
    "read_label_file",
    "status",
    "verify",
    "verify_photos",
]
