"""What the page on noise models shows: thin layers over the numbers, and the galleries where there are images."""

from __future__ import annotations

import html
from dataclasses import dataclass

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from nlbook import figures as page_figures
from nlbook.noise_models import NoiseModels
from nlbook.noise_sources import cifar_models, cifar_summary, digits_models
from nlbook.noise_summary import NoiseSummary
from nlkit import figures
from nlkit.data import data_root
from nlkit.files import project_root


@dataclass(frozen=True)
class NoisePage:
    """Two data sets under all their noise models, and where the numbers of the second one come from."""

    digits: NoiseModels
    cifar: NoiseModels
    numbers: tuple[NoiseSummary, NoiseSummary]
    source: str

    def sources(self) -> HTML:
        """One line a data set: how many images and models, and where the numbers come from."""
        lines = [
            f"<li>{one.title}: {one.count:,} images, {len(one.models)} noise models, {html.escape(origin)}.</li>"
            for one, origin in zip(self.numbers, ("computed here", self.source), strict=True)
        ]
        return HTML(f"<ul>{''.join(lines)}</ul>")

    def matrices(self, which: int) -> Figure:
        """Transition matrices of the digits (0) or of CIFAR-10 (1)."""
        return page_figures.matrix_grid(self.numbers[which].matrices(), self.numbers[which].names)

    def class_rates(self) -> Figure:
        """Noise rates by class."""
        return page_figures.class_rate_dots({one.title: (one.names, one.rates()) for one in self.numbers})

    def lifts(self) -> Figure:
        """Which models hit the same images."""
        return page_figures.lift_maps({one.title: one.lift_table() for one in self.numbers})

    def curves(self) -> Figure:
        """How often images are hit by the margin of a classifier."""
        return page_figures.margin_curves({one.title: one.curves() for one in self.numbers})

    def table(self) -> pd.DataFrame:
        """What tells the models apart."""
        return pd.concat([one.table() for one in self.numbers])

    def agreements(self) -> pd.DataFrame:
        """Two draws of a model, and two people."""
        return pd.concat([one.agreement_table() for one in self.numbers])

    def gallery(self, which: int, first: str, second: str) -> Figure | HTML:
        """Images that both, or only one of two models hit; one line where images or labels are not here."""
        models = (self.digits, self.cifar)[which]
        if models.images is None or first not in models.labels or second not in models.labels:
            return HTML(f"<p>Not on this machine, so not shown: {html.escape(', '.join(models.missing))}.</p>")
        labels = [models.labels[first], models.labels[second]]
        rows = models.hit_rows(first, second)
        figure = page_figures.hit_gallery(models.images, rows, models.clean, labels, models.names)
        plt.close(figure)
        return figure


def noise_page(rate: float, seed: int = 123) -> NoisePage:
    """Make the labels of all noise models; `rate` is what the synthetic ones on digits come to."""
    figures.use_book_style()
    digits, cifar = digits_models(rate, seed), cifar_models(project_root() / data_root(None), seed)
    summary, source = cifar_summary(cifar)
    return NoisePage(digits, cifar, (digits.summary(), summary), source)
