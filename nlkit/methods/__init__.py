"""The methods, one file a paper: parameters, algorithm, cost and look; see `nlkit.params.registry`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nlkit.params import registry

if TYPE_CHECKING:
    from nlkit.data.problem import TrainingSet
    from nlkit.methods.base import Method
    from nlkit.params import Params


def build_method(data: TrainingSet, params: Params[Any]) -> Method:
    """The method that the parameters name, before its first epoch."""
    return registry.find(params.method.name).build(data, params)
