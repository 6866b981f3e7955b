"""Figures of single pages: methods side by side, noise models, and what one method alone shows."""

from nlbook.figures.codim import positive_pairs
from nlbook.figures.contest import accuracy_dots, auc_dots, cost_and_accuracy, epoch_curves
from nlbook.figures.detection import detection_curves, detection_dots
from nlbook.figures.features import feature_geometry, feature_maps, neighbour_gallery
from nlbook.figures.lra_diffusion import label_trajectories, retrieved_labels, vote_shares, weights_and_vote
from nlbook.figures.noise import class_rate_dots, hit_gallery, lift_maps, margin_curves, margins, matrix_grid
from nlbook.figures.tcl import feature_map, label_map, score_histograms

__all__ = [
    "accuracy_dots",
    "auc_dots",
    "class_rate_dots",
    "cost_and_accuracy",
    "detection_curves",
    "detection_dots",
    "epoch_curves",
    "feature_geometry",
    "feature_map",
    "feature_maps",
    "hit_gallery",
    "label_map",
    "label_trajectories",
    "lift_maps",
    "margin_curves",
    "margins",
    "matrix_grid",
    "neighbour_gallery",
    "positive_pairs",
    "retrieved_labels",
    "score_histograms",
    "vote_shares",
    "weights_and_vote",
]
