"""nlkit: learning with noisy labels, methods behind one interface, runs that leave records.

The public names are imported when they are first used: PyTorch alone takes seconds, and a reader of records needs none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlkit.cleaning import clean as clean
    from nlkit.cleaning.classifier import Classifier as Classifier
    from nlkit.cleaning.classifier import load_classifier as load_classifier
    from nlkit.cleaning.features import clean_features as clean_features
    from nlkit.cleaning.results import CleanResult as CleanResult
    from nlkit.cleaning.results import FeatureResult as FeatureResult
    from nlkit.errors import NlkitError as NlkitError
    from nlkit.params import Params as Params
    from nlkit.params import load_params as load_params
    from nlkit.parts.mixture import fit_two_components as fit_two_components
    from nlkit.training.runs import Run as Run
    from nlkit.training.runs import load_run as load_run
    from nlkit.training.runs import run as run

_HOMES = {
    "nlkit.cleaning": ("clean",),
    "nlkit.cleaning.classifier": ("Classifier", "load_classifier"),
    "nlkit.cleaning.features": ("clean_features",),
    "nlkit.cleaning.results": ("CleanResult", "FeatureResult"),
    "nlkit.errors": ("NlkitError",),
    "nlkit.params": ("Params", "load_params"),
    "nlkit.parts.mixture": ("fit_two_components",),
    "nlkit.training.runs": ("Run", "load_run", "run"),
}
__all__ = sorted(name for names in _HOMES.values() for name in names)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        found = import_module("importlib.metadata").distributions(name="nlkit")
        return next((one.version for one in found), "unknown")
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'nlkit' has no attribute '{name}'")
    return getattr(import_module(home), name)
