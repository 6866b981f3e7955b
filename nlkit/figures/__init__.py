"""Figures of a run, and what it shows in words; each works with and without clean labels."""

from nlkit.figures.findings import findings as findings
from nlkit.figures.images import gallery as gallery
from nlkit.figures.images import noise_gallery as noise_gallery
from nlkit.figures.losses import accuracy_curves as accuracy_curves
from nlkit.figures.losses import loss_heatmap as loss_heatmap
from nlkit.figures.losses import loss_histograms as loss_histograms
from nlkit.figures.losses import loss_ridges as loss_ridges
from nlkit.figures.losses import memorisation as memorisation
from nlkit.figures.losses import p_clean_histograms as p_clean_histograms
from nlkit.figures.losses import split_curves as split_curves
from nlkit.figures.matrices import run_matrices as run_matrices
from nlkit.figures.matrices import split_confusion as split_confusion
from nlkit.figures.matrices import transition_matrices as transition_matrices
from nlkit.figures.style import use_book_style as use_book_style
