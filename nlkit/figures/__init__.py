"""Figures of a run, and what it shows in words; each works with and without clean labels."""

from nlkit.figures.findings import findings
from nlkit.figures.images import gallery, noise_gallery
from nlkit.figures.losses import (
    accuracy_curves,
    loss_heatmap,
    loss_histograms,
    loss_ridges,
    memorisation,
    p_clean_histograms,
    split_curves,
)
from nlkit.figures.matrices import run_matrices, split_confusion, transition_matrices
from nlkit.figures.style import use_book_style

__all__ = [
    "accuracy_curves",
    "findings",
    "gallery",
    "loss_heatmap",
    "loss_histograms",
    "loss_ridges",
    "memorisation",
    "noise_gallery",
    "p_clean_histograms",
    "run_matrices",
    "split_confusion",
    "split_curves",
    "transition_matrices",
    "use_book_style",
]
