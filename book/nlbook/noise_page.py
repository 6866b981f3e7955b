"""What the two notebooks on noise show: the labels of one parameter file, and all noise models side by side."""

import html
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from nlbook.contest import percent
from nlbook.figures import noise as drawn
from nlbook.noise_models import NoiseModels, NoiseSummary
from nlbook.noise_sources import cifar_models, cifar_summary, digits_models, recorded_labels
from nlkit import data, figures, noise
from nlkit.data import data_root
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import project_root
from nlkit.lazy import torch
from nlkit.params import Params
from nlkit.params.sections import NoiseParams, PMDNoiseParams
from nlkit.training.problem import load_problem, pmd_margins


@dataclass(frozen=True)
class NoiseView:
    """The labels that parameters make, to be looked at."""

    params: Params
    problem: Problem

    def _labels(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.problem.clean is not None
        return self.problem.clean.numpy(), self.problem.train.labels.numpy()

    def matrices(self) -> dict[str, np.ndarray]:
        """Transition matrices [C, C]: meant, where a generator made the labels, and the one that came out."""
        asked, matrices, classes = self.params.noise, {}, len(self.problem.class_names)
        if isinstance(asked, NoiseParams) and asked.kind in ("symmetric", "asymmetric"):
            flips = noise.flips_of(self.problem.dataset) if asked.kind == "asymmetric" else None
            matrices["meant"] = noise.nominal_matrix(classes, asked.rate, flips, asked.own_class)
        return matrices | {"realised": noise.transition_matrix(*self._labels(), classes)}

    def table(self) -> pd.DataFrame:
        """Rates and counts of the labels, and what they come from."""
        made = self.problem.noise
        rows = {
            "data set": self.problem.dataset,
            "training samples": f"{len(self.problem.train):,}",
            "kind of noise": self.params.noise.kind,
            "nominal rate": percent(made.nominal),
            "realised rate": percent(made.realised),
            "seed of the noise": self.params.noise.seed,
            "sha256 of the data": self.problem.sha256[:16],
            "sha256 of the labels": made.sha256[:16],
        }
        return pd.DataFrame({"value": rows})

    def gallery(self) -> Figure:
        """One wrongly labelled image of each class."""
        return figures.noise_gallery(self.problem.train.images, *self._labels(), list(self.problem.class_names))

    def of(self, kind: str, rate: float) -> "NoiseView":
        """The same data under another synthetic noise."""
        asked = NoiseParams.model_validate({"kind": kind, "rate": rate, "seed": self.params.noise.seed})
        return noise_view(self.params.model_copy(update={"noise": asked}))

    def margins(self) -> Figure:
        """How many labels are correct and wrong at each margin, and the share of wrong ones; for PMD noise only."""
        assert isinstance(self.params.noise, PMDNoiseParams)
        asked: Any = self.params.data  # PMD noise is never laid over a folder's labels
        whole, size = data.load_dataset(asked.name, data_root(None)), len(self.problem.train)
        part = replace(whole, images=whole.images[:size], labels=whole.labels[:size])
        found = pmd_margins(part, self.params.noise, data_root(None), torch.device("cpu"))
        clean, noisy = self._labels()
        return drawn.margins(found.delta, noisy != clean)


def noise_view(params: Params) -> NoiseView:
    """Load the data of the parameters and corrupt their labels."""
    return NoiseView(params, load_problem(params, data_root(None), torch.device("cpu")))


def human_and_synthetic(seed: int = 123) -> Figure | HTML:
    """Transition matrices of the human labels in a record and of symmetric noise of their rate, or what is missing."""
    try:
        clean, noisy, names = recorded_labels()
    except NlkitError as error:
        return HTML(f"<p>Not shown, since the record is not on this machine: {html.escape(str(error))}</p>")
    rate = float((clean != noisy).mean())
    synthetic = noise.symmetric(clean, rate, len(names), seed, own_class=False)
    labels = {"human labels": noisy, f"symmetric noise, {percent(rate)}": synthetic}
    matrices = {title: noise.transition_matrix(clean, some, len(names)) for title, some in labels.items()}
    figure = figures.transition_matrices(matrices, names)
    plt.close(figure)
    return figure


@dataclass(frozen=True)
class NoisePage:
    """Two data sets under all their noise models, their numbers, and where those of the second one come from."""

    digits: NoiseModels
    cifar: NoiseModels
    numbers: tuple[NoiseSummary, NoiseSummary]
    source: str

    def sources(self) -> HTML:
        """One line a data set: how many images and models, and where the numbers come from."""
        lines = ""
        for one, origin in zip(self.numbers, ("computed here", html.escape(self.source)), strict=True):
            lines += f"<li>{one.title}: {one.count:,} images, {len(one.models)} noise models, {origin}.</li>"
        return HTML(f"<ul>{lines}</ul>")

    def table(self) -> pd.DataFrame:
        """One row a model: what tells it from the others."""
        return pd.DataFrame({(one.title, n): model.row() for one in self.numbers for n, model in one.models.items()}).T

    def agreements(self) -> pd.DataFrame:
        """One row a pair: two draws of a model, or two people; what is shared beside what would be by chance."""
        rows = {(one.title, pair): shares for one in self.numbers for pair, shares in one.agreements.items()}
        names = ["both wrong", "by chance", "of these the same label", "the same by chance"]
        return pd.DataFrame(rows).T.map(percent).set_axis(names, axis="columns")

    def gallery(self, models: NoiseModels, first: str, second: str) -> Figure | HTML:
        """Images that both, or only one of two models hit; one line where anything is missing here."""
        if models.missing:
            return HTML(f"<p>Not on this machine, so not shown: {html.escape(', '.join(models.missing))}.</p>")
        figure = drawn.hit_gallery(models, first, second)
        plt.close(figure)
        return figure


def noise_page(rate: float, seed: int = 123) -> NoisePage:
    """Make the labels of all noise models; `rate` is what the synthetic ones on digits come to."""
    figures.use_book_style()
    digits, cifar = digits_models(rate, seed), cifar_models(project_root() / data_root(None), seed)
    summary, source = cifar_summary(cifar)
    return NoisePage(digits, cifar, (digits.summary(), summary), source)
