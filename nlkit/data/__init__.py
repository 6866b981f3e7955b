"""Where images and labels come from: arrays in memory, folders, photographs, features.

What photographs need is imported by whoever uses them, from its own module.
"""

from nlkit.data.catalog import data_root, load_dataset, sources, status, verify
from nlkit.data.dataset import Dataset

__all__ = ["Dataset", "data_root", "load_dataset", "sources", "status", "verify"]
