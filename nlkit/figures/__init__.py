"""Figures of runs and of noise; each works with and without clean labels."""

from nlkit.figures.codim import positive_pairs
from nlkit.figures.contest import accuracy_dots, auc_dots, cost_and_accuracy, epoch_curves
from nlkit.figures.curves import accuracy_curves, memorisation, split_curves
from nlkit.figures.detection import detection_curves, detection_dots
from nlkit.figures.diffusion import label_trajectories, retrieved_labels, vote_shares, weights_and_vote
from nlkit.figures.features import feature_geometry, feature_maps, neighbour_gallery
from nlkit.figures.images import gallery, noise_gallery
from nlkit.figures.losses import loss_heatmap, loss_histograms, loss_ridges, p_clean_histograms
from nlkit.figures.margins import margins
from nlkit.figures.matrices import run_matrices, split_confusion, transition_matrices
from nlkit.figures.noise import class_rate_dots, hit_gallery, lift_maps, margin_curves, matrix_grid
from nlkit.figures.style import use_book_style
from nlkit.figures.twin import feature_map, label_map, score_histograms

__all__ = [
    "accuracy_curves",
    "feature_geometry",
    "accuracy_dots",
    "auc_dots",
    "class_rate_dots",
    "cost_and_accuracy",
    "detection_curves",
    "detection_dots",
    "epoch_curves",
    "feature_map",
    "feature_maps",
    "gallery",
    "hit_gallery",
    "label_map",
    "label_trajectories",
    "lift_maps",
    "loss_heatmap",
    "loss_histograms",
    "loss_ridges",
    "margin_curves",
    "margins",
    "matrix_grid",
    "memorisation",
    "neighbour_gallery",
    "noise_gallery",
    "p_clean_histograms",
    "positive_pairs",
    "retrieved_labels",
    "run_matrices",
    "score_histograms",
    "split_confusion",
    "split_curves",
    "transition_matrices",
    "use_book_style",
    "vote_shares",
    "weights_and_vote",
]
