"""PyTorch, imported when it is first used, and names for annotations only.

Importing it takes seconds, which whoever reads parameters or records need not spend. Code of the rooms from `data` to
`training` takes it from here; networks, which are classes of PyTorch's own, are imported where they are built.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

if TYPE_CHECKING:
    import torch as torch
    from pandas import DataFrame as DataFrame
    from torch import Generator as Generator
    from torch import Tensor as Tensor
    from torch import device as Device
    from torch.nn import functional as functional
else:
    DataFrame = Device = Generator = Tensor = Any  # for annotations only; what is a tensor is asked with torch.Tensor

    class _Module:
        """Stands for a module until one of its names is asked for."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module(self._name), name)
            setattr(self, name, value)  # from now on found without this function
            return value

    torch, functional = _Module("torch"), _Module("torch.nn.functional")


def no_grad(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: the function runs without recording gradients, as under `torch.no_grad()`."""

    @wraps(function)
    def without_gradients(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with torch.no_grad():
            return function(*args, **kwargs)

    return without_gradients
