"""A GPU that is not there: what code puts on `cuda` stays in memory, but is told apart from what lies on the CPU.

Inside `pretended_gpu()` every tensor's storage has a place. Operations on tensors of two places are refused as a GPU
refuses them, and so are generators of the other place and NumPy arrays of what lies on the GPU. Results are those of
the CPU: this finds what was left on the wrong device, nothing else.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from nlkit import lazy

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
MAY_MIX = ("_to_copy", "copy_", "lift_fresh", "set_", "index.Tensor", "index_put", "_index_put")
"""Operations on two places: copies, and indices on the CPU of what lies on the GPU."""
PLAIN = ("_parse_to", "device", "__new__")  # are given a place, and make nothing there
RealGenerator, RealAutocast, fork = torch.Generator, torch.autocast, torch.random.fork_rng

places: dict[int, tuple[StorageWeakRef, torch.device | None]] = {}
"""By storage; None for what PyTorch made inside of an operation, which may become either."""


def place_of(tensor: Tensor) -> torch.device | None:
    """Where a tensor lies; what nobody placed lies on the CPU."""
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        known = places.get(tensor.untyped_storage()._cdata)
    return CPU if known is None or known[0].expired() else known[1]


def put(result: Any, place: torch.device | None) -> Any:
    """The same tensors, which now lie there."""
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        for tensor in tensors(result):
            storage = tensor.untyped_storage()
            places[storage._cdata] = StorageWeakRef(storage), place
        if len(places) > 20_000:
            for key in [key for key, known in places.items() if known[0].expired()]:
                del places[key]
    return result


def tensors(tree: Any) -> list[Tensor]:
    """The tensors of nested arguments or results."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def as_place(value: Any) -> torch.device | None:
    """The place that an argument names, if it does."""
    named = value if isinstance(value, torch.device) else None
    if isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda"):
        named = torch.device(value)
    return None if named is None else GPU if named.type == "cuda" else CPU


class Generator(RealGenerator):
    """A generator with a place."""

    def __new__(cls, device: Any = "cpu") -> "Generator":
        made = super().__new__(cls)
        made.place = as_place(device)
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass

    device = property(lambda self: self.place)


def autocast(device_type: str, *args: Any, **kwargs: Any) -> RealAutocast:
    """Autocast of the CPU, whichever was asked for."""
    return RealAutocast("cpu", *args, **kwargs)


class Operations(TorchDispatchMode):
    """Refuses operations on tensors of two places, and places their results."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, name = tensors((args, kwargs)), func.__name__
        found = {place_of(one) for one in given if one.dim() or place_of(one) is GPU} - {None}  # scalars may mix
        where = None if not given else GPU if GPU in found else CPU
        if name.startswith(MAY_MIX) and "index" in name:
            where = place_of(args[0])
        if len(found) > 1 and (not name.startswith(MAY_MIX) or ("index" in name and where is CPU)):
            shapes = ", ".join(f"{tuple(one.shape)} on {place_of(one)}" for one in given)
            raise RuntimeError(f"pretended GPU: {func}: tensors on two devices: {shapes}")
        result = func(*args, **(kwargs or {}))
        old = {one.untyped_storage()._cdata for one in given}
        for one in tensors(result):
            if one.untyped_storage()._cdata not in old or (found and place_of(one) is None):
                put(one, where)
        return result


class Functions(TorchFunctionMode):
    """Reads the places that calls ask for, and refuses generators of another one and arrays of what is on the GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if name in PLAIN:
            return func(*args, **kwargs)
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__get__" and owner in ("device", "is_cuda", "is_cpu"):
            where = place_of(args[0]) or CPU
            return where if owner == "device" else where is (GPU if owner == "is_cuda" else CPU)
        if name in ("numpy", "__array__") and place_of(args[0]) is GPU:
            raise TypeError("pretended GPU: no array of a tensor on cuda; use Tensor.cpu() first")
        if name in ("cpu", "cuda", "__deepcopy__"):
            where = {"cpu": CPU, "cuda": GPU}.get(name, place_of(args[0]))
            return put(func(*args, **kwargs) if name == "__deepcopy__" else torch.Tensor.clone(args[0]), where)
        if name == "pin_memory" or kwargs.pop("pin_memory", False):
            assert GPU not in [place_of(one) for one in tensors(args)], "pretended GPU: only the CPU has pinned memory"
        if name == "pin_memory":
            return args[0]
        given, asked = tensors((args, kwargs)), [as_place(one) for one in (*args, *kwargs.values())]
        where = next(filter(None, asked), None)
        if name == "to" and len(given) > 1:  # as another tensor
            args, kwargs, where = (args[0], given[1].dtype), {}, place_of(given[1])
        stream = next((one for one in (*args, *kwargs.values()) if isinstance(one, RealGenerator)), None)
        beside = where or (place_of(given[0]) if given else CPU)
        if stream is not None and beside not in (None, getattr(stream, "place", CPU)):
            raise RuntimeError(f"pretended GPU: {name}: a generator on {stream.device} and a tensor on {beside}")
        args = tuple(CPU if as_place(one) else one for one in args)
        kwargs = {key: CPU if as_place(one) else one for key, one in kwargs.items()}
        if where and given and name in ("to", "as_tensor", "asarray") and where is not place_of(given[0]):
            return put(func(*args, **kwargs).clone(), where)
        result = func(*args, **kwargs)
        return put(result, where or CPU) if not given and (where or name not in ("__get__", "__set__")) else result


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Inside, PyTorch has one GPU of 80 GiB."""
    gib = 2**30
    cuda: dict[str, Any] = {
        "is_available": True, "is_initialized": True, "is_bf16_supported": True, "device_count": 1, "current_device": 0,
        "get_device_name": "pretended GPU", "get_device_properties": SimpleNamespace(total_memory=80 * gib),
        "mem_get_info": (70 * gib, 80 * gib), "max_memory_allocated": gib, "memory_allocated": gib,
        "synchronize": None, "reset_peak_memory_stats": None, "empty_cache": None, "manual_seed_all": None,
    }  # fmt: skip
    health = "_accelerator_graph_capture_health_check"  # of optimisers, where PyTorch has it
    with ExitStack() as stack:
        for name, value in cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, lambda *given, value=value, **named: value))
        stack.enter_context(mock.patch.object(torch.optim.Optimizer, health, lambda self: None, create=True))
        stack.enter_context(mock.patch.object(torch.random, "fork_rng", lambda devices=(): fork(devices=[])))
        for module in (torch, lazy.torch):  # the second keeps what it was once asked for
            stack.enter_context(mock.patch.object(module, "Generator", Generator))
            stack.enter_context(mock.patch.object(module, "autocast", autocast))
        stack.enter_context(Operations())
        stack.enter_context(Functions())
        yield
