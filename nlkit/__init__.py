"""nlkit: learning with noisy labels, methods behind one interface, runs that leave records."""

from nlkit.classifier import Classifier, load_classifier
from nlkit.cleaning import CleanResult, clean
from nlkit.errors import NlkitError
from nlkit.feature_cleaning import FeatureResult, clean_features
from nlkit.mixture import fit_two_components
from nlkit.params import Params, load_params
from nlkit.runs import Run, load_run, run

__all__ = [
    "Classifier",
    "CleanResult",
    "FeatureResult",
    "NlkitError",
    "Params",
    "Run",
    "clean",
    "clean_features",
    "fit_two_components",
    "load_classifier",
    "load_params",
    "load_run",
    "run",
]
