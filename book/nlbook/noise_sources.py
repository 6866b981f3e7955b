"""Where the labels of the noise models come from: generators on digits, records and files for CIFAR-10.

`python -m nlbook.noise_sources` writes the numbers of CIFAR-10 to `results/`, for machines without its labels.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nlbook.detection import out_of_fold
from nlbook.noise_models import AGGREGATE, PEOPLE, WORST, NoiseModels, NoiseSummary
from nlkit import data, noise
from nlkit.errors import NlkitError
from nlkit.files import project_root, write_atomically
from nlkit.lazy import torch
from nlkit.noise import human
from nlkit.params.sections import ExtraNoiseParams, PMDNoiseParams
from nlkit.training.problem import pmd_labels
from nlkit.training.runs import load_run

RECORD = Path("results") / "confident_learning" / "cifar10n-worst-laptop" / "seed-0"
KEPT = Path("results") / "noise_models" / "cifar10.json"
ASYMMETRIC = 0.4  # the nominal rate; above one half most labels of a class that flips would be wrong
PMD_FOLDER, PMD_COUNT = "noise-labels/lra", 45_000
"""The published files hold the labels of the first images; the others were set aside."""
PMD_FILES = {"PMD I": "", "PMD I + uniform": "_U_0.3", "PMD I + asymmetric": "_A_0.3"}
"""The published models, and what follows `cifar10-1-0.35` in the names of their files."""


def digits_models(rate: float, seed: int = 123) -> NoiseModels:
    """All synthetic models on the digits; `rate` is what each comes to, but for asymmetric noise."""
    digits = data.load_dataset("digits", Path())
    clean, classes = digits.labels, len(digits.class_names)
    labels, again = (_synthetic(clean, rate, noise.DIGITS_FLIPS, start) for start in (seed, seed + 10))

    def pmd(kind: int, share: float, start: int, extra: ExtraNoiseParams | None = None) -> np.ndarray:
        asked = PMDNoiseParams(kind="pmd", type=kind, rate=share, seed=start, extra=extra)  # type: ignore[arg-type]
        return pmd_labels(digits, asked, Path(), torch.device("cpu"))

    for kind, name in enumerate(("PMD I", "PMD II", "PMD III"), start=1):
        labels[name] = pmd(kind, rate, seed + kind)  # draws of their own
    again["PMD I"] = pmd(1, rate, seed + 10)
    # the chance to move a label that makes `rate` out of its half: a wrong one that moves is right in 1 of classes - 1
    on_top = ExtraNoiseParams(kind="uniform", rate=rate / 2 / (1 - rate / 2 * classes / (classes - 1)))
    labels["PMD I + uniform"] = pmd(1, rate / 2, seed + 4, on_top)
    # logistic regressions on pixels, each fitted to four fifths of the clean labels
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=500))
    p = cross_val_predict(model, digits.images.reshape(len(clean), -1), clean, cv=5, method="predict_proba")
    margin = true_margin(np.asarray(p), clean)
    return NoiseModels("digits", list(digits.class_names), clean, labels, again, margin, digits.images)


def _synthetic(clean: np.ndarray, rate: float, flips: Mapping[int, int], seed: int) -> dict[str, np.ndarray]:
    """Symmetric noise in which every chosen label is wrong, and asymmetric noise on other images."""
    symmetric = noise.symmetric(clean, rate, int(clean.max()) + 1, seed, own_class=False)
    return {"symmetric": symmetric, "asymmetric": noise.asymmetric(clean, ASYMMETRIC, flips, seed + 1)}


def true_margin(p: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Probability of the true class [N] less that of the best other class, from probabilities [N, C]."""
    own = np.arange(p.shape[1]) == clean[:, None]
    return p[own] - np.where(own, -np.inf, p).max(axis=1)


def recorded_labels() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Clean labels and the worst human ones int64 [N] of the first CIFAR-10 images, and class names, from a record."""
    run = load_run(project_root() / RECORD)
    return *(run.samples[name].to_numpy(np.int64) for name in ("clean", "noisy")), run.record["data"]["classes"]


def cifar_models(root: Path, seed: int = 123) -> NoiseModels:
    """Synthetic, PMD and human noise on the first CIFAR-10 images: as much of it as committed records and `root` have.

    Of other human labels, PMD label files and images those that are not below `root` are named as missing.
    """
    clean, worst, names = recorded_labels()
    rate = float((worst != clean).mean())
    labels, again = (_synthetic(clean, rate, noise.CIFAR10_FLIPS, start) for start in (seed, seed + 10))
    missing: list[str] = []
    labels |= _pmd_files(root, len(clean), missing) | _people(root, clean, missing) | {WORST: worst}
    p = out_of_fold(load_run(project_root() / RECORD))
    assert p is not None
    images, title = _images(root, clean, missing), f"CIFAR-10, first {len(clean):,}"
    return NoiseModels(title, names, clean, labels, again, true_margin(p, clean), images, tuple(missing))


def _pmd_files(root: Path, count: int, missing: list[str]) -> dict[str, np.ndarray]:
    paths = {name: root / PMD_FOLDER / f"cifar10-1-0.35{ending}.npy" for name, ending in PMD_FILES.items()}
    if not all(map(os.path.isfile, paths.values())):
        missing.append(f"the label files of PMD noise that LRA-diffusion published ({PMD_FOLDER})")
        return {}
    return {name: noise.read_label_file(path, PMD_COUNT, 10)[:count] for name, path in paths.items()}


def _people(root: Path, clean: np.ndarray, missing: list[str]) -> dict[str, np.ndarray]:
    """The majority of three people, and each of them."""
    path = human.human_file("cifar10n", root)
    if not path.is_file():
        missing.append("the other human labels (nlkit data get cifar10n)")
        return {}
    found = human.read_human_file("cifar10n", path, None)
    _check_clean(found["clean"], clean, str(path))
    return {name: found[key][: len(clean)] for key, name in {"aggregate": AGGREGATE, **PEOPLE}.items()}


def _images(root: Path, clean: np.ndarray, missing: list[str]) -> np.ndarray | None:
    if data.sources()["cifar10"].missing(root):
        missing.append("the images (nlkit data get cifar10)")
        return None
    whole = data.load_dataset("cifar10", root)
    _check_clean(whole.labels, clean, str(root))
    return whole.images[: len(clean)]


def _check_clean(found: np.ndarray, clean: np.ndarray, source: str) -> None:
    if not np.array_equal(found[: len(clean)], clean):
        raise NlkitError(f"{source}: the labels are not those of the record; the images must be in the official order")


def cifar_summary(models: NoiseModels) -> tuple[NoiseSummary, str]:
    """The numbers of CIFAR-10, the kept ones where anything is missing here, and a line that says what."""
    if models.missing:
        return kept_summary(), f"read from {KEPT}, since this machine lacks {', '.join(models.missing)}"
    return models.summary(), "computed here"


def kept_summary() -> NoiseSummary:
    """The numbers of CIFAR-10 in `results/`."""
    return NoiseSummary.model_validate_json((project_root() / KEPT).read_bytes())


def keep(root: Path) -> None:
    """Write the numbers of CIFAR-10 for machines without the data; raises NlkitError where they are missing here."""
    models = cifar_models(root)
    if models.missing:
        raise NlkitError(f"{root}: lacks {', '.join(models.missing)}; nothing was written")
    write_atomically(project_root() / KEPT, models.summary().model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    keep(data.data_root(None))
