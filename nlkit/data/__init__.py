"""Where images and labels come from: data sets in memory, human annotations, files of labels and features."""

from nlkit.data.catalog import data_root, load_dataset, status, verify
from nlkit.data.dataset import Dataset
from nlkit.data.features import read_feature_file
from nlkit.data.fetch import get
from nlkit.data.human import human_labels
from nlkit.data.labels import read_label_file

__all__ = [
    "Dataset",
    "data_root",
    "get",
    "human_labels",
    "load_dataset",
    "read_feature_file",
    "read_label_file",
    "status",
    "verify",
]
