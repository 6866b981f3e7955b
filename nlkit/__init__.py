"""nlkit: learning with noisy labels, methods behind one interface, runs that leave records."""

from nlkit.errors import NlkitError
from nlkit.mixture import fit_two_components
from nlkit.params import Params, load_params
from nlkit.runs import Run, load_run, run

__all__ = ["NlkitError", "Params", "Run", "fit_two_components", "load_params", "load_run", "run"]
