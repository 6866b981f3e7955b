"""Each operation by itself, its forms against each other, which of them runs, and that Triton's can be compiled."""

import subprocess
import sys

import pytest
import tiny
import torch
from fuzzing import refused
from torch import Tensor
from torch.nn import functional

from nlkit import kernels
from nlkit.kernels import crop_flip, mixture, neighbours, soft_losses, soft_targets

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Where kernels run."""


def drawn(shape: tuple[int, ...], pad: int, views: int) -> tuple[Tensor, ...]:
    """Images of that shape, and offsets, flips, mean and spread for so many views of each."""
    stream = tiny.stream(pad)
    images = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8)
    dy, dx = torch.randint(-pad, pad + 1, (2, views * shape[0]), generator=stream)
    dy[:1] = pad
    flip = torch.rand(views * shape[0], generator=stream) < 0.5
    mean, std = torch.linspace(100, 140, shape[3]), torch.linspace(40, 60, shape[3])
    return tuple(part.to(DEVICE) for part in (images, dy, dx, flip, mean, std))


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (1, 1, 1, 1), (5, 8, 8, 1), (7, 5, 9, 2), (4, 32, 32, 3)])
@pytest.mark.parametrize(("pad", "views"), [(0, 1), (1, 2), (4, 1), (9, 3)])
def test_crops_are_plain_slices(form: None, shape: tuple[int, ...], pad: int, views: int) -> None:
    """And forms agree to the bit. A pad of 9 can move an image of 8 x 8 out of sight: all pixels are 0."""
    images, dy, dx, flip, mean, std = given = drawn(shape, pad, views)
    found, half = crop_flip.crop_flip(*given), crop_flip.crop_flip(*given, torch.bfloat16)
    for ours in (found, half):
        assert torch.equal(ours, crop_flip.naive.crop_flip(*given, ours.dtype))
    assert half.dtype == torch.bfloat16
    assert found.shape == (views * shape[0], shape[3], *shape[1:3]) and found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    padded = functional.pad(images.permute(0, 3, 1, 2).float(), [pad] * 4)
    for i, view in enumerate(found):
        top, left = pad + int(dy[i]), pad + int(dx[i])
        crop = padded[i % shape[0], :, top : top + shape[1], left : left + shape[2]]
        crop = crop.flip(2) if flip[i] else crop
        torch.testing.assert_close(view, (crop - mean[:, None, None]) / std[:, None, None])


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 2), (3, 7), (10, 61), (2, 2050)])
@pytest.mark.parametrize(("max_iter", "tol"), [(1, 1e-2), (3, 0.0), (10, 1e-2), (40, 1e-3)])
def test_mixtures_agree(triton: None, rows: int, length: int, max_iter: int, tol: float) -> None:
    """Rows of values of two components, which of them are real, and a first assignment."""
    stream = tiny.stream(length)
    spread = torch.randn(rows, length, generator=stream, dtype=torch.float64)
    lower = torch.rand(rows, length, generator=stream) < 0.4
    values = torch.where(lower, 0.2 + 0.1 * spread, 0.7 + 0.2 * spread).clamp(0, 1)
    inside = torch.rand(rows, length, generator=stream) < 0.9
    given = ((values * inside).to(DEVICE), inside.to(DEVICE), (values > 0.5).to(DEVICE), max_iter, tol, 5e-4)
    for ours, plain in zip(mixture.em(*given), mixture.naive.em(*given), strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-9)


def test_an_assignment_to_one_side_and_a_row_without_values_stay_finite(form: None) -> None:
    values = torch.tensor([[0.25, 0.5, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64, device=DEVICE)
    inside = torch.tensor([[True] * 3, [False] * 3], device=DEVICE)
    found = mixture.em(values, inside, torch.zeros_like(inside), 5, 1e-3, 1e-3)
    assert all(bool(part.isfinite().all()) for part in found)
    assert bool((found.means.diff(dim=1) >= 0).all())
    assert torch.allclose(found.weights.sum(dim=1), inside.new_ones(2).double())


@pytest.mark.parametrize(("queries", "bank", "d", "k"), [(1, 1, 1, 1), (17, 9, 5, 3), (2, 70, 33, 7), (1, 70, 1, 70)])
def test_neighbours_agree(triton: None, queries: int, bank: int, d: int, k: int) -> None:
    stream = tiny.stream(d)
    q, b = (torch.randn(count, d, generator=stream).to(DEVICE) for count in (queries, bank))
    distances, index = neighbours.nearest(q, b, k)
    expected, order = neighbours.naive.nearest(q, b, k)
    torch.testing.assert_close(distances, expected, atol=1e-3 if k == bank else 1e-5, rtol=1e-5)
    assert index.dtype == torch.int64 and torch.equal(index, order)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_are_compared_in_single_or_double(form: None, dtype: torch.dtype) -> None:
    bank = torch.randn(20, 8, generator=tiny.stream(1)).to(DEVICE, dtype)
    distances, index = neighbours.nearest(bank[:3], bank, 4)
    assert distances.dtype == (dtype if dtype == torch.float64 else torch.float32)
    assert torch.equal(index, torch.cdist(bank[:3].double(), bank.double()).topk(4, largest=False).indices)


def test_equal_rows_are_all_found_and_no_query_gives_no_row(form: None) -> None:
    zeros = torch.zeros(5, 2, device=DEVICE)
    distances, index = neighbours.nearest(zeros[:2], zeros, 5)
    assert not distances.any() and all(sorted(row) == [0, 1, 2, 3, 4] for row in index.tolist())
    assert [part.shape for part in neighbours.nearest(zeros[:0], zeros, 2)] == [(0, 2)] * 2


@pytest.mark.parametrize(("count", "classes", "rows"), [(1, 2, 1), (5, 3, 2), (5, 3, 5), (70, 10, 33), (9, 33, 4)])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_losses_agree(triton: None, count: int, classes: int, rows: int, scale: float) -> None:
    """At the larger scale a class may be predicted by no row at all, where the penalty is cut off."""
    stream = tiny.stream(count)
    start = (scale * torch.randn(count, classes, generator=stream)).to(DEVICE)
    targets = torch.rand(count, classes, generator=stream).to(DEVICE)
    found, gradients = [], []
    for function in (soft_losses.soft_losses, soft_losses.naive.soft_losses):
        logits = start.clone().requires_grad_()
        losses = torch.stack(function(logits, targets, rows))
        losses.backward(torch.tensor([0.7, -3.0, 2.0], device=DEVICE))
        found.append(losses.detach())
        gradients.append(logits.grad)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_half_precision_logits_have_losses_in_single_and_gradients_in_half(form: None) -> None:
    logits = torch.randn(4, 3, generator=tiny.stream(0)).to(DEVICE, torch.bfloat16).requires_grad_()
    losses = soft_losses.soft_losses(logits, torch.eye(4, device=DEVICE)[:, :3], 2)
    sum(losses).backward()  # type: ignore[union-attr]
    assert all(one.dtype == torch.float32 for one in losses) and logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16 and bool(logits.grad.isfinite().all())
    targets = soft_targets.soft_targets([logits], 0.5)
    assert targets.dtype == torch.float32 and not targets.requires_grad


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # log 0 is meant, and NumPy warns of it
@pytest.mark.parametrize(("rows", "classes"), [(0, 3), (1, 1), (3, 2), (17, 10), (5, 33)])
@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("labelled", [False, True])
def test_targets_agree(triton: None, rows: int, classes: int, views: int, labelled: bool) -> None:
    stream = tiny.stream(rows)
    logits = [(30 * torch.randn(rows, classes, generator=stream)).to(DEVICE) for _ in range(views)]
    labels = torch.randint(classes, (rows,), generator=stream).to(DEVICE)
    trust = (labels, torch.rand(rows, generator=stream).to(DEVICE)) if labelled else (None, None)
    found, plain = (one.soft_targets(logits, 0.4, *trust) for one in (soft_targets, soft_targets.naive))
    torch.testing.assert_close(found, plain)


CPU = torch.device("cpu")
SOURCES = {
    "crop_flip": [
        {**dict.fromkeys(["dy", "dx"], "*i64"), "images": "*u8", "flip": "*i1", "mean": "*fp32", "std": "*fp32",
         "out": out, **dict.fromkeys(["batch", "height", "width"], "i32"), "channels": 3, "narrow": out == "*i16",
         "block": 1024}
        for out in ("*fp32", "*i16")
    ],
    "mixture": [{**dict.fromkeys(["values", "settings", "out"], "*fp64"), **dict.fromkeys(["inside", "high"], "*i1"),
                 "length": "i32", "max_iter": "i32", "block": 1024}],
    "neighbours": [
        {"queries": kind, "bank": kind, "out": "*i64", **dict.fromkeys(["count", "size", "width"], "i32"),
         "most": 16, "rows": 16, "columns": 64, "depth": 32}
        for kind in ("*fp32", "*bf16")
    ],
    "soft_targets": [
        {**dict.fromkeys(["logits", "trust", "out"], "*fp32"), "labels": "*i64", "temperature": "fp32",
         **dict.fromkeys(["count", "classes"], "i32"), "views": 4, "labelled": labelled, "rows": 16, "wide": 16}
        for labelled in (False, True)
    ],
    "soft_losses": [
        {"logits": kind, **dict.fromkeys(["targets", "losses", "means", "upstream", "out"], "*fp32"),
         **dict.fromkeys(["labelled", "count", "classes"], "i32"), "least": "fp32", "rows": 64, "wide": 16}
        for kind in ("*fp32", "*bf16")
    ],
}  # fmt: skip
"""The arguments of each kernel: types of those that vary, values of those that are compiled in."""
COMPILE = """
import sys, triton
from importlib import import_module
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
for operation, kinds in {sources!r}.items():
    module = import_module("nlkit.kernels." + operation + ".triton")
    kernels = [getattr(module, name) for name in dir(module) if name.endswith("_kernel")]
    assert kernels
    for kernel, kind in [(kernel, kind) for kernel in kernels for kind in kinds]:
        constants = {{name: value for name, value in kind.items() if not isinstance(value, str)}}
        types = {{name: "constexpr" if name in constants else kind[name] for name in kernel.arg_names}}
        made = triton.compile(ASTSource(kernel, types, constants), target=GPUTarget("cuda", 90, 32))
        assert made.asm["cubin"]
"""


def test_the_plain_form_runs_but_where_another_is_asked_for_or_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU gets Triton where a row says that it is faster there."""
    pytest.importorskip("triton")
    monkeypatch.delenv("NLKIT_KERNELS", raising=False)
    for operation in SOURCES:
        assert kernels.form(operation, CPU).__name__.endswith(".naive")
    monkeypatch.setattr(kernels, "FASTER", {"mixture": ("Quick",)})
    for name, chosen in (("Quick", "triton"), ("Slow", "naive")):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert kernels.form("mixture", torch.device("cuda")).__name__ == f"nlkit.kernels.mixture.{chosen}"
    monkeypatch.setenv("NLKIT_KERNELS", "fast")
    refused(lambda: kernels.form("mixture", CPU), "NLKIT_KERNELS is 'fast'; use auto, naive, triton")


def test_kernels_compile_to_machine_code_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter takes much that the compiler refuses."""
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    subprocess.run([sys.executable, "-c", COMPILE.format(sources=SOURCES)], check=True, timeout=300)
