"""The one door for settings: typed sections, parameter files and overrides."""

from nlkit.params.files import parse_override
from nlkit.params.load import Params, first_problem, load_params, make_params

__all__ = ["Params", "first_problem", "load_params", "make_params", "parse_override"]
