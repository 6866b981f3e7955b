"""Images of a reader's own, or, as an example, handwritten digits as files, some of them labelled wrongly."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

from nlkit import NlkitError, noise
from nlkit.figures.notebook import PLAIN
from nlkit.files import project_root

PARAMETERS = ("folder", "labels", "truth", "out", "method", "hold_out", "size")


def own_or_digits(values: dict[str, Any]) -> dict[str, Any]:
    """What `nlkit.clean` gets: what a reader named, else digits in a new folder, 0.3 of them labelled wrongly.

    `values` are the notebook's `globals()`; paths in them start at the project's folder. Beside the digits lie their
    pixels, `pixels.npz`. Raises NlkitError for a parameter that it does not have.
    """
    first = values.setdefault("_first_names", [name for name in values if isinstance(values[name], PLAIN)])
    if other := next((name for name in first if name[0] != "_" and name not in (*PARAMETERS, "In", "Out")), None):
        raise NlkitError(f"unknown parameter '{other}'; expected one of {', '.join(PARAMETERS)}")
    folder, labels, truth, out = (values[name] for name in PARAMETERS[:4])
    if folder:
        own = {"folder": folder, "labels": labels, "out": out or "scores.csv"}
        return {name: project_root() / path if path else None for name, path in own.items()} | {"truth": truth or None}
    place, digits = Path(tempfile.mkdtemp(prefix="nlkit-")), load_digits()
    (place / "images").mkdir()
    names = [f"{index:04d}.png" for index in range(len(digits.target))]
    for name, pixels in zip(names, digits.images, strict=True):
        image = Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8))
        image.resize((32, 32), Image.Resampling.BICUBIC).save(place / "images" / name)
    given = noise.symmetric(digits.target, 0.3, 10, seed=7, own_class=False)
    pd.DataFrame({"path": names, "label": given, "truth": digits.target}).to_csv(place / "labels.csv", index=False)
    np.savez(place / "pixels.npz", features=digits.data.astype(np.float32))
    return {"folder": place / "images", "labels": place / "labels.csv", "out": place / "scores.csv", "truth": "truth"}
