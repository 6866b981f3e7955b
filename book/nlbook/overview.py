"""What the notebooks on noise and on all records show; thin layers over `noise`, `tables` and `figures`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from matplotlib.figure import Figure

from nlbook import figures as page_figures
from nlbook import tables
from nlkit import data, figures, noise
from nlkit.data import data_root
from nlkit.data.problem import Problem
from nlkit.params import Params
from nlkit.params.data import DataParams
from nlkit.params.noise import NoiseParams, PMDNoiseParams
from nlkit.training import records
from nlkit.training.problem import load_problem, pmd_margins
from nlkit.training.runs import Run, load_run, project_root, run_path


@dataclass(frozen=True)
class NoiseView:
    """The labels that parameters make, to be looked at."""

    params: Params
    problem: Problem

    @property
    def names(self) -> list[str]:
        """Class names."""
        return list(self.problem.class_names)

    def _labels(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.problem.clean is not None
        return self.problem.clean.numpy(), self.problem.train.labels.numpy()

    def realised(self) -> np.ndarray:
        """The transition matrix [C, C] that came out."""
        return noise.transition_matrix(*self._labels(), len(self.names))

    def matrices(self) -> dict[str, np.ndarray]:
        """Transition matrices [C, C]: meant, where a generator made the labels, and realised."""
        asked = self.params.noise
        matrices = {}
        if isinstance(asked, NoiseParams) and asked.kind in ("symmetric", "asymmetric"):
            flips = noise.flips_of(self.problem.dataset) if asked.kind == "asymmetric" else None
            matrices["meant"] = noise.nominal_matrix(len(self.names), asked.rate, flips, asked.own_class)
        return matrices | {"realised": self.realised()}

    def table(self) -> pd.DataFrame:
        """Rates, counts and hash of the labels."""
        made = self.problem.noise
        rows = {
            "data set": self.problem.dataset,
            "training samples": f"{len(self.problem.train):,}",
            "kind of noise": self.params.noise.kind,
            "nominal rate": tables.rate(made.nominal, made.realised).split(" / ")[0],
            "realised rate": tables.rate(made.nominal, made.realised).split(" / ")[1],
            "sha256 of the labels": made.sha256[:16],
        }
        return pd.DataFrame({"value": rows})

    def gallery(self) -> Figure:
        """One wrongly labelled image of each class."""
        return figures.noise_gallery(self.problem.train.images, *self._labels(), self.names)

    def of(self, kind: str, rate: float) -> NoiseView:
        """The same data under another synthetic noise."""
        asked = NoiseParams.model_validate({"kind": kind, "rate": rate, "seed": self.params.noise.seed})
        return noise_view(self.params.model_copy(update={"noise": asked}))

    def margins(self) -> Figure:
        """How many labels are correct and wrong at each margin, and the share of wrong ones; for PMD noise only."""
        assert isinstance(self.params.noise, PMDNoiseParams)
        found = pmd_margins(self._dataset(), self.params.noise, data_root(None), torch.device("cpu"))
        clean, noisy = self._labels()
        return page_figures.margins(found.delta, noisy != clean)

    def _dataset(self) -> data.Dataset:
        assert isinstance(self.params.data, DataParams)  # PMD noise is never laid over a folder's labels
        whole, size = data.load_dataset(self.params.data.name, data_root(None)), len(self.problem.train)
        return replace(whole, images=whole.images[:size], labels=whole.labels[:size])

    def box(self) -> HTML:
        """Where the labels come from."""
        rows = self.table()["value"].to_dict() | {"seed of the noise": self.params.noise.seed}
        rows["sha256 of the data"] = self.problem.sha256[:16]
        items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows.items())
        return HTML(f'<div class="nlkit-repro"><h4>How this page was made</h4><dl>{items}</dl></div>')


def noise_view(params: Params) -> NoiseView:
    """Load the data of the parameters and corrupt their labels."""
    problem = load_problem(params.data, params.noise, data_root(None), torch.device("cpu"))
    return NoiseView(params, problem)


def human_and_synthetic(cell: str, seed: int = 123) -> Figure:
    """Transition matrices of the human labels in a committed record, and of symmetric noise of the same rate."""
    clean, noisy, names = _recorded_labels(cell)
    rate = float((clean != noisy).mean())
    synthetic = noise.symmetric(clean, rate, len(names), seed, own_class=False)
    matrices = {
        "human labels": noise.transition_matrix(clean, noisy, len(names)),
        f"symmetric noise, {100 * rate:.1f} %": noise.transition_matrix(clean, synthetic, len(names)),
    }
    return figures.transition_matrices(matrices, names)


def _recorded_labels(cell: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    record = records.load(project_root() / "results" / "cross_entropy" / cell / "seed-0")
    clean, noisy = (record.samples[name].to_numpy(np.int64) for name in ("clean", "noisy"))
    return clean, noisy, record.info["data"]["classes"]


def all_runs() -> list[Run]:
    """Every committed record, with the fresh run of the same parameters in its place where there is one."""
    figures.use_book_style()
    root = project_root()
    found = []
    for record in records.find(root / "results"):
        run = load_run(record.folder)
        fresh = root / "runs" / run_path(run.params)
        if (fresh / "record.json").exists():
            other = load_run(fresh)
            run = other if other.params.digest == run.params.digest else run
        found.append(run)
    return found
