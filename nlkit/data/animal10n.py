"""Animal-10N: photographs of five pairs of animals that people confuse.

Layout, as its archive unpacks (the folder `raw_image` is also looked for):

    animal10n/training/0_10.jpg ...   LABEL_NUMBER.jpg, labels 0..9
    animal10n/testing/...             likewise

Counts and the names of the classes are from the page of the data set (50,000 and 5,000 images), the file names from
public loaders, which take the digits before the underscore. There is no list: images are taken in the order of their
sorted names. Mean and standard deviation are those of ImageNet, which is our choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nlkit.data.list_files import Row, gather, image_names
from nlkit.data.photo_layout import IMAGENET_MEAN, IMAGENET_STD, empty_classes, find_folder
from nlkit.data.photo_list import PhotoSet
from nlkit.errors import NlkitError

CLASS_NAMES = (
    "cat",
    "lynx",
    "wolf",
    "coyote",
    "cheetah",
    "jaguar",
    "chimpanzee",
    "orangutan",
    "hamster",
    "guinea pig",
)
OFFICIAL = {"train": 50_000, "test": 5_000}


def needed(root: Path) -> list[Path]:
    """The folders that must be there."""
    folder = find_folder(root, ("animal10n", "raw_image"))
    return [folder / "training", folder / "testing"]


def load(root: Path) -> PhotoSet:
    """Animal-10N below the data root; tests: 'test'. No image is opened.

    Raises NlkitError for a folder that is missing or has no images, and for an image whose name begins with no label.
    """
    training, testing = needed(root)
    train, _ = gather(training, training, _rows(training))
    test, _ = gather(testing, testing, _rows(testing))
    notes = empty_classes(train, CLASS_NAMES)
    return PhotoSet("animal10n", train, {"test": test}, CLASS_NAMES, IMAGENET_MEAN, IMAGENET_STD, notes)


def _rows(folder: Path) -> Iterator[Row]:
    for name in image_names(folder):
        digits, sign, _ = name.partition("_")
        if not (sign and len(digits) == 1 and digits in "0123456789"):
            raise NlkitError(f"{folder}: the image {name[:80]!r} begins with no label; expected 0_ to 9_ and a number")
        yield 0, name, int(digits)
