"""One run on several processes that torchrun started: each passes a share of every batch through the networks.

All of them hold the whole data, draw the same views, and compute the same losses of the whole batch; passes through
networks, which take most of the time, are shared out row by row, and their results are put together again. So a method
is written as for one process, and up to rounding its result is that of one: batch norm and dropout see the whole batch.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from nlkit.errors import NlkitError
from nlkit.lazy import Tensor, torch

Result = TypeVar("Result")

_count, _own, _alone = 1, 0, False  # processes, which of them this is, and whether it works for itself just now
_rows: tuple[Tensor, int] | None = None  # inside a shared pass: the own rows and how many there are of all


def count() -> int:
    """The number of processes that make this run together."""
    return _count


def is_first() -> bool:
    """Whether this process writes the files and shows the progress."""
    return _own == 0


def local_gpu() -> int:
    """The number of the GPU, on its machine, that this process takes."""
    return int(os.environ.get("LOCAL_RANK", 0)) if _count > 1 else 0


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Inside, this process is one of those that torchrun started; nothing happens where it started none."""
    global _count, _own
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield
        return
    gpu = device != "cpu" and torch.cuda.is_available()
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    _count, _own = torch.distributed.get_world_size(), torch.distributed.get_rank()
    if gpu:
        torch.cuda.set_device(local_gpu())
    try:
        yield
        torch.distributed.destroy_process_group()
    finally:
        _count, _own = 1, 0


def by_first(work: Callable[[], Result]) -> Result:
    """What the first process alone makes; all others wait for it, and get its NlkitError too."""
    global _alone
    if _count == 1:
        return work()
    said: list[Any] = [None, None]
    if is_first():
        _alone = True
        try:
            said[0] = work()
        except NlkitError as error:
            said[1] = error
        finally:
            _alone = False
    torch.distributed.broadcast_object_list(said)
    if said[1] is not None:
        raise said[1]
    return said[0]


def agree(tensors: Iterable[Tensor]) -> None:
    """Give all processes the values that the first one has, so that rounding cannot lead them apart."""
    for tensor in tensors if _count > 1 else ():
        same = tensor.detach().contiguous()
        torch.distributed.broadcast(same, 0)
        tensor.detach().copy_(same)


def average_gradients(weights: Iterable[Tensor]) -> None:
    """Replace each gradient by its mean over the processes."""
    found = [weight.grad for weight in weights if weight.grad is not None] if _count > 1 else []
    if found:
        flat = torch.cat([gradient.flatten() for gradient in found])
        torch.distributed.all_reduce(flat)
        parts = (flat / _count).split([gradient.numel() for gradient in found])
        for gradient, part in zip(found, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def shares(sizes: Sequence[int]) -> list[range]:
    """Of consecutive parts of a batch, the rows that are this process's; all where a part has not a row for each."""
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    own, count = (0, 1) if _count == 1 or _alone or min(sizes) < _count else (_own, _count)
    return [
        range(start + size * own // count, start + size * (own + 1) // count)
        for start, size in zip(starts, sizes, strict=True)
    ]


def share_out(part: Callable[[Tensor], Any], inputs: Tensor, sizes: Sequence[int] | None = None) -> Any:
    """What `part` makes of inputs [B, ...], a tensor [B, ...] or several; each process passes its own rows only.

    `sizes` are those of consecutive parts of the batch that are shared out one by one. Gradients are such that their
    mean over the processes is that of one process; a part of the network that is called without this has it, too.
    """
    global _rows
    own = shares(sizes or [len(inputs)])
    if sum(map(len, own)) == len(inputs):
        return part(inputs)
    index = torch.cat([torch.arange(rows.start, rows.stop, device=inputs.device) for rows in own])
    _rows = index, len(inputs)
    try:
        made = part(inputs[index])
    finally:
        _rows = None
    if isinstance(made, tuple):
        return tuple(_put_together(one, index, len(inputs)) for one in made)
    return _put_together(made, index, len(inputs))


def _put_together(own: Tensor, index: Tensor, total: int) -> Tensor:
    """The rows [B, ...] of all processes; a gradient flows to the own ones only, as often as there are processes."""
    everything = own.new_zeros(total, *own.shape[1:]).index_copy(0, index, own.detach())
    torch.distributed.all_reduce(everything)
    if own.requires_grad:
        own.register_hook(lambda gradient: gradient * _count)
    return everything.index_copy(0, index, own)


def shared_rows() -> tuple[Tensor, int] | None:
    """Inside a shared pass the numbers of the own rows, and how many there are; else None."""
    return _rows
