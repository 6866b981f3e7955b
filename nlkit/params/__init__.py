"""The one door for settings: typed sections, parameter files and overrides."""

from nlkit.params.load import Params, load_params, make_params, parse_override, view_side

__all__ = ["Params", "load_params", "make_params", "parse_override", "view_side"]
