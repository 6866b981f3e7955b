"""Where images and labels come from: arrays in memory, folders, photographs, features.

What photographs need is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nlkit.data.catalog import data_root, load_dataset, sources, status, verify
from nlkit.data.dataset import Dataset

if TYPE_CHECKING:
    from nlkit.data.feature_table import read_feature_file
    from nlkit.data.fetch import get
    from nlkit.data.photos.catalog import PHOTO_SOURCES, load_photos, verify_photos
    from nlkit.data.photos.lists import PhotoList, PhotoSet

__all__ = [
    "Dataset",
    "PHOTO_SOURCES",
    "PhotoList",
    "PhotoSet",
    "data_root",
    "get",
    "load_dataset",
    "load_photos",
    "read_feature_file",
    "sources",
    "status",
    "verify",
    "verify_photos",
]

_HOMES = {
    "PHOTO_SOURCES": "photos.catalog",
    "PhotoList": "photos.lists",
    "PhotoSet": "photos.lists",
    "get": "fetch",
    "load_photos": "photos.catalog",
    "read_feature_file": "feature_table",
    "verify_photos": "photos.catalog",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nlkit.data' has no attribute '{name}'")
    return getattr(import_module(f"nlkit.data.{_HOMES[name]}"), name)
