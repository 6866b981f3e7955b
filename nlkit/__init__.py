"""nlkit: learning with noisy labels, methods behind one interface, runs that leave records.

The public names are imported when they are first used: PyTorch alone takes seconds, and a reader of records needs none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlkit.cleaning import CleanResult, clean
    from nlkit.cleaning.classifier import Classifier, load_classifier
    from nlkit.cleaning.features import FeatureResult, clean_features
    from nlkit.errors import NlkitError
    from nlkit.params import Params, load_params
    from nlkit.parts.mixture import fit_two_components
    from nlkit.training.runs import Run, load_run, run

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

_HOMES = {
    "nlkit.cleaning.classifier": ("Classifier", "load_classifier"),
    "nlkit.cleaning.features": ("FeatureResult", "clean_features"),
    "nlkit.cleaning": ("CleanResult", "clean"),
    "nlkit.errors": ("NlkitError",),
    "nlkit.params": ("Params", "load_params"),
    "nlkit.parts.mixture": ("fit_two_components",),
    "nlkit.training.runs": ("Run", "load_run", "run"),
}


def __getattr__(name: str) -> Any:
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'nlkit' has no attribute '{name}'")
    return getattr(import_module(home), name)
