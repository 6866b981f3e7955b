"""Where images and labels come from: arrays in memory, folders; photographs and features from their own modules."""

from nlkit.data.catalog import data_root, load_dataset, sources, status, verify
from nlkit.data.dataset import Dataset

__all__ = ["Dataset", "data_root", "load_dataset", "sources", "status", "verify"]
