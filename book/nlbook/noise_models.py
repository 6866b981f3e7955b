"""Labels of several noise models for the same images, and the numbers that tell the models apart."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BaseModel
from scipy.stats import entropy

from nlbook.contest import percent
from nlkit.noise import transition_matrix

WORST, AGGREGATE = "human, worst", "human, aggregate"
PEOPLE = {"random1": "human, random 1", "random2": "human, random 2", "random3": "human, random 3"}
"""One label a person: the three were drawn at random for each image."""
Number = Annotated[float, AfterValidator(lambda value: round(value, 6))]


class ModelNumbers(BaseModel, frozen=True):
    """One noise model: its transition matrix [C, C], and what the functions below say of it; curve [10]: by margin."""

    rate: Number
    matrix: list[list[Number]]
    top_share: Number
    entropy: Number
    auc: Number
    auc_error: Number
    curve: list[Number]

    def class_rates(self) -> np.ndarray:
        """Share of wrong labels in each class [C]."""
        return 1 - np.diag(np.array(self.matrix))

    def row(self) -> dict[str, str]:
        """A row of the table."""
        rates = self.class_rates()
        return {
            "wrong labels": percent(self.rate),
            "by class": f"{100 * rates.min():.0f} to {100 * rates.max():.0f} %",
            "most frequent wrong class": f"{self.top_share:.2f}",
            "entropy": f"{self.entropy:.2f}",
            "AUC of the margin": f"{self.auc:.2f} ± {self.auc_error:.2f}",
        }


class NoiseSummary(BaseModel, frozen=True):
    """Numbers of all models of a data set of `count` images; lifts by two models, agreements by two sets of labels."""

    title: str
    names: list[str]
    count: int
    models: dict[str, ModelNumbers]
    lifts: dict[str, dict[str, Number]]
    agreements: dict[str, dict[str, Number]]

    def shown(self, hybrids: bool = False) -> dict[str, ModelNumbers]:
        """The models of the figures: one of the three people stands for all; hybrids have a plus in their name."""
        left_out = list(PEOPLE.values())[1:]
        return {n: one for n, one in self.models.items() if n not in left_out and (hybrids or "+" not in n)}


@dataclass(frozen=True)
class NoiseModels:
    """Labels int64 [N] of several noise models by name, for the same images with the same clean labels [N].

    again: a second, independent draw of some models; margin: probability of the true class less that of the best other
    one [N], by classifiers that have not seen the image; images: uint8 [N, H, W, channels] where they are here;
    missing: what this machine lacks.
    """

    title: str
    names: list[str]
    clean: np.ndarray
    labels: dict[str, np.ndarray]
    again: dict[str, np.ndarray]
    margin: np.ndarray
    images: np.ndarray | None
    missing: tuple[str, ...] = ()

    def summary(self) -> NoiseSummary:
        """All numbers of the page."""
        models = {name: self._numbers(labels) for name, labels in self.labels.items()}
        agreements = {name: agreement(self.clean, *pair, len(self.names)) for name, pair in self._pairs().items()}
        alone = [name for name in self.labels if name not in (WORST, AGGREGATE)]  # these two are made of the people's
        wrong = {name: self.labels[name] != self.clean for name in alone}
        lifts = {one: {two: lift(self.clean, wrong[one], wrong[two]) for two in wrong if two != one} for one in wrong}
        known: dict[str, Any] = {"title": self.title, "names": self.names, "count": len(self.clean)}
        return NoiseSummary(**known, models=models, lifts=lifts, agreements=agreements)

    def hit_rows(self, first: str, second: str, count: int = 6) -> dict[str, np.ndarray]:
        """Images that two models both hit, and that one of them hits only: the first of each class, at most `count`."""
        one, two = self.labels[first] != self.clean, self.labels[second] != self.clean
        rows = {f"{first} and {second}": one & two, f"{first} only": one & ~two, f"{second} only": two & ~one}
        hit = {title: pd.Series(np.flatnonzero(mask)) for title, mask in rows.items() if mask.any()}
        return {title: np.sort(index.groupby(self.clean[index]).first())[:count] for title, index in hit.items()}

    def _numbers(self, labels: np.ndarray) -> ModelNumbers:
        clean, classes, wrong = self.clean, len(self.names), labels != self.clean
        matrix, curve = transition_matrix(clean, labels, classes), rates_by_margin(self.margin, wrong, clean)
        found: dict[str, Any] = {"rate": float(wrong.mean()), "matrix": matrix.tolist(), "curve": curve.tolist()}
        found["top_share"], found["entropy"] = wrong_spread(clean, labels, classes)
        found["auc"], found["auc_error"] = within_class_auc(self.margin, wrong, clean)
        return ModelNumbers(**found)

    def _pairs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Two draws of a model, and each two of the three people."""
        pairs = {f"two draws of {name}": (self.labels[name], other) for name, other in self.again.items()}
        people = [(name, self.labels[name]) for name in PEOPLE.values() if name in self.labels]
        for (one, first), (two, second) in zip(people, [*people[1:], *people[:1]], strict=True):
            pairs[f"{one} and {two.removeprefix('human, ')}"] = first, second
        return pairs


def wrong_spread(clean: np.ndarray, noisy: np.ndarray, classes: int) -> tuple[float, float]:
    """How the wrong labels of each of three or more classes are spread, means over wrong labels; NaN without any.

    The share that names the most frequent wrong class, and the entropy over log(classes - 1): 1 and 0 for asymmetric
    noise, for symmetric noise about 1 / (classes - 1) and 1. A few labels have less than many.
    """
    wrong = noisy != clean
    if not wrong.any():
        return math.nan, math.nan
    table = pd.crosstab(clean[wrong], noisy[wrong]).to_numpy()
    spread = entropy(table, axis=1) @ table.sum(axis=1) / table.sum() / math.log(classes - 1)
    return float(table.max(axis=1).sum() / table.sum()), float(spread)


def within_class_auc(margin: np.ndarray, wrong: np.ndarray, clean: np.ndarray) -> tuple[float, float]:
    """The chance that of two images of one class the one with the wrong label has the smaller margin; ties count half.

    One half for noise that does not look at the image. The second number is the standard error that this value would
    have without ties. Both from the ranks [N] within the classes (Mann and Whitney's U); NaN without a pair.
    """
    classes, ranks = pd.Series(wrong).groupby(clean), pd.Series(margin).groupby(clean).rank()
    bad, size = classes.sum(), classes.size()
    good = size - bad
    pairs = int((bad * good).sum())
    won = ranks[~wrong].sum() - (good * (good + 1) / 2).sum()
    variance = (bad * good * (size + 1)).sum() / 12
    return (float(won) / pairs, math.sqrt(variance) / pairs) if pairs else (math.nan, math.nan)


def lift(clean: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """How many images two kinds of noise hit [N] both, over what independence within classes would give, NaN for 0."""
    expected = sum(first[clean == c].mean() * second[clean == c].sum() for c in np.unique(clean))
    return float((first & second).sum() / expected) if expected else math.nan


def agreement(clean: np.ndarray, first: np.ndarray, second: np.ndarray, classes: int) -> dict[str, float]:
    """How far two sets of labels [N] share their errors, beside independent draws from their transition matrices.

    `both`: share of images that both get wrong; `same`: of these the share with the same wrong label, NaN where there
    are none; `both_expected` and `same_expected`: what independence within each class would give.
    """
    prior = np.bincount(clean, minlength=classes) / len(clean)
    off = [transition_matrix(clean, labels, classes) * (1 - np.eye(classes)) for labels in (first, second)]
    both_expected = float(prior @ (off[0].sum(axis=1) * off[1].sum(axis=1)))
    same_expected = float(prior @ (off[0] * off[1]).sum(axis=1))
    both = (first != clean) & (second != clean)
    return {
        "both": float(both.mean()),
        "both_expected": both_expected,
        "same": float((first == second)[both].mean()) if both.any() else math.nan,
        "same_expected": same_expected / both_expected if both_expected else math.nan,
    }


def rates_by_margin(margin: np.ndarray, wrong: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The noise rate of each tenth of the classes [10], by rising margin [N], over the rate of all; ties by index."""
    groups = pd.Series(margin).groupby(clean)
    tenths = (groups.rank(method="first") - 1) * 10 // groups.transform("size")
    return pd.Series(wrong).groupby(tenths).mean().reindex(range(10), fill_value=0.0).to_numpy() / wrong.mean()
