"""Labels of several noise models for the same images, and the numbers that tell the models apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlbook import noise_statistics as statistics
from nlbook.noise_summary import AGGREGATE, PEOPLE, WORST, Agreement, ModelNumbers, NoiseSummary
from nlkit.noise import transition_matrix


@dataclass(frozen=True)
class NoiseModels:
    """Labels int64 [N] of several noise models by name, for the same images with the same clean labels [N].

    again: a second, independent draw of some models; images: uint8 [N, H, W, channels] where they are here; margin:
    probability of the true class less that of the best other one [N], by classifiers that have not seen the image;
    missing: what this machine lacks.
    """

    title: str
    names: list[str]
    clean: np.ndarray
    labels: dict[str, np.ndarray]
    again: dict[str, np.ndarray]
    images: np.ndarray | None = None
    margin: np.ndarray | None = None
    missing: tuple[str, ...] = ()

    def summary(self) -> NoiseSummary:
        """All numbers of the page."""
        return NoiseSummary(
            title=self.title,
            names=self.names,
            count=len(self.clean),
            models={name: self._numbers(labels) for name, labels in self.labels.items()},
            lifts=self._lifts(),
            agreements={name: self._agreement(*pair) for name, pair in self._pairs().items()},
            missing=list(self.missing),
        )

    def hit_rows(self, first: str, second: str, count: int = 9) -> dict[str, np.ndarray]:
        """Images that two models both hit, and that one of them hits only: the first of each class, at most `count`."""
        one, two = self.labels[first] != self.clean, self.labels[second] != self.clean
        rows = {f"{first} and {second}": one & two, f"{first} only": one & ~two, f"{second} only": two & ~one}
        return {title: self._one_a_class(mask)[:count] for title, mask in rows.items() if mask.any()}

    def _one_a_class(self, mask: np.ndarray) -> np.ndarray:
        index = np.flatnonzero(mask)
        return index[np.sort(np.unique(self.clean[index], return_index=True)[1])]

    def _numbers(self, labels: np.ndarray) -> ModelNumbers:
        clean, classes, wrong = self.clean, len(self.names), labels != self.clean
        auc = error = curve = None
        if self.margin is not None and wrong.any():
            auc, error = statistics.within_class_auc(self.margin, wrong, clean)
            curve = statistics.rates_by_margin(self.margin, wrong, clean).round(6).tolist()
        return ModelNumbers(
            rate=round(float(wrong.mean()), 6),
            matrix=transition_matrix(clean, labels, classes).round(6).tolist(),
            top_share=_short(statistics.top_share(clean, labels, classes)),
            entropy=_short(statistics.wrong_entropy(clean, labels, classes)),
            auc=_short(auc),
            auc_error=_short(error),
            curve=curve,
        )

    def _lifts(self) -> dict[str, dict[str, float | None]]:
        wrong = {name: labels != self.clean for name, labels in self.labels.items()}
        if any(name in wrong for name in PEOPLE.values()):  # of which the majority and the worst are made
            wrong = {name: mask for name, mask in wrong.items() if name not in (WORST, AGGREGATE)}
        return {
            one: {two: _short(statistics.lift(self.clean, wrong[one], wrong[two])) for two in wrong if two != one}
            for one in wrong
        }

    def _pairs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Two draws of a model, and each two of the three people."""
        pairs = {f"two draws of {name}": (self.labels[name], other) for name, other in self.again.items()}
        people = [(name, self.labels[name]) for name in PEOPLE.values() if name in self.labels]
        for (one, first), (two, second) in zip(people, [*people[1:], *people[:1]], strict=True):
            pairs[f"{one} and {two.removeprefix('human, ')}"] = first, second
        return pairs

    def _agreement(self, first: np.ndarray, second: np.ndarray) -> Agreement:
        found = statistics.agreement(self.clean, first, second, len(self.names))
        return Agreement.model_validate({name: _short(value) for name, value in found.items()})


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
