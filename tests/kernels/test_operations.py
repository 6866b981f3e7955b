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

SHAPES = [(0, 8, 8, 3), (1, 1, 1, 1), (5, 8, 8, 1), (7, 5, 9, 2), (4, 32, 32, 3)]


def drawn(shape: tuple[int, ...], pad: int, views: int, device: torch.device) -> tuple[Tensor, ...]:
    """Images of that shape, and offsets, flips, mean and spread for so many views of each."""
    stream = tiny.stream(pad)
    images = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8)
    dy, dx = torch.randint(-pad, pad + 1, (2, views * shape[0]), generator=stream)
    dy[:1] = pad
    flip = torch.rand(views * shape[0], generator=stream) < 0.5
    mean, std = torch.linspace(100, 140, shape[3]), torch.linspace(40, 60, shape[3])
    return tuple(part.to(device) for part in (images, dy, dx, flip, mean, std))


def padded_slice(image: Tensor, dy: int, dx: int, flip: bool, pad: int) -> Tensor:
    """The crop as textbooks make it: pad with zeros, slice, flip; float [C, H, W]."""
    height, width, _ = image.shape
    padded = functional.pad(image.permute(2, 0, 1).float(), (pad, pad, pad, pad))
    crop = padded[:, pad + dy : pad + dy + height, pad + dx : pad + dx + width]
    return crop.flip(2) if flip else crop


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("pad", "views"), [(0, 1), (1, 2), (4, 1), (9, 3)])
def test_crops_are_plain_slices(form: None, device: torch.device, shape: tuple[int, ...], pad: int, views: int) -> None:
    """A pad of 9 can move an image of 8 x 8 out of sight: all pixels are 0 before normalisation."""
    images, dy, dx, flip, mean, std = drawn(shape, pad, views, device)
    found = crop_flip.crop_flip(images, dy, dx, flip, mean, std)
    assert found.shape == (views * shape[0], shape[3], *shape[1:3]) and found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    for i, view in enumerate(found):
        crop = padded_slice(images[i % shape[0]], int(dy[i]), int(dx[i]), bool(flip[i]), pad)
        torch.testing.assert_close(view, (crop - mean[:, None, None]) / std[:, None, None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_crops_agree_to_the_bit(triton: None, device: torch.device, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    given = drawn(shape, 3, 2, device)
    assert torch.equal(crop_flip.crop_flip(*given, dtype), crop_flip.naive.crop_flip(*given, dtype))


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 2), (3, 7), (10, 61), (2, 2050)])
@pytest.mark.parametrize(("max_iter", "tol"), [(1, 1e-2), (3, 0.0), (10, 1e-2), (40, 1e-3)])
def test_mixtures_agree(triton: None, device: torch.device, rows: int, length: int, max_iter: int, tol: float) -> None:
    """Rows of values of two components, which of them are real, and a first assignment."""
    stream = tiny.stream(length)
    spread = torch.randn(rows, length, generator=stream, dtype=torch.float64)
    lower = torch.rand(rows, length, generator=stream) < 0.4
    values = torch.where(lower, 0.2 + 0.1 * spread, 0.7 + 0.2 * spread).clamp(0, 1)
    inside = torch.rand(rows, length, generator=stream) < 0.9
    given = ((values * inside).to(device), inside.to(device), (values > 0.5).to(device), max_iter, tol, 5e-4)
    for ours, plain in zip(mixture.em(*given), mixture.naive.em(*given), strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-9)


def test_an_assignment_to_one_side_and_a_row_without_values_stay_finite(form: None, device: torch.device) -> None:
    values = torch.tensor([[0.25, 0.5, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64, device=device)
    inside = torch.tensor([[True] * 3, [False] * 3], device=device)
    found = mixture.em(values, inside, torch.zeros_like(inside), 5, 1e-3, 1e-3)
    assert all(bool(part.isfinite().all()) for part in found)
    assert bool((found.means.diff(dim=1) >= 0).all())
    assert torch.allclose(found.weights.sum(dim=1), inside.new_ones(2).double())


@pytest.mark.parametrize(("queries", "bank", "d", "k"), [(1, 1, 1, 1), (17, 9, 5, 3), (2, 70, 33, 7), (1, 70, 1, 70)])
def test_neighbours_agree(triton: None, device: torch.device, queries: int, bank: int, d: int, k: int) -> None:
    stream = tiny.stream(d)
    q, b = (torch.randn(count, d, generator=stream).to(device) for count in (queries, bank))
    distances, index = neighbours.nearest(q, b, k)
    expected, order = neighbours.naive.nearest(q, b, k)
    torch.testing.assert_close(distances, expected, atol=1e-3 if k == bank else 1e-5, rtol=1e-5)
    assert index.dtype == torch.int64 and torch.equal(index, order)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_are_compared_in_single_or_double(form: None, device: torch.device, dtype: torch.dtype) -> None:
    bank = torch.randn(20, 8, generator=tiny.stream(1)).to(device, dtype)
    distances, index = neighbours.nearest(bank[:3], bank, 4)
    assert distances.dtype == (dtype if dtype == torch.float64 else torch.float32)
    assert torch.equal(index, torch.cdist(bank[:3].double(), bank.double()).topk(4, largest=False).indices)


def test_equal_rows_are_all_found_and_no_query_gives_no_row(form: None, device: torch.device) -> None:
    zeros = torch.zeros(5, 2, device=device)
    distances, index = neighbours.nearest(zeros[:2], zeros, 5)
    assert not distances.any() and all(sorted(row) == [0, 1, 2, 3, 4] for row in index.tolist())
    assert [part.shape for part in neighbours.nearest(zeros[:0], zeros, 2)] == [(0, 2)] * 2


@pytest.mark.parametrize(("count", "classes", "rows"), [(1, 2, 1), (5, 3, 2), (5, 3, 5), (70, 10, 33), (9, 33, 4)])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_losses_agree(triton: None, device: torch.device, count: int, classes: int, rows: int, scale: float) -> None:
    """At the larger scale a class may be predicted by no row at all, where the penalty is cut off."""
    stream = tiny.stream(count)
    start = (scale * torch.randn(count, classes, generator=stream)).to(device)
    targets = torch.rand(count, classes, generator=stream).to(device)
    found, gradients = [], []
    for function in (soft_losses.soft_losses, soft_losses.naive.soft_losses):
        logits = start.clone().requires_grad_()
        losses = torch.stack(function(logits, targets, rows))
        losses.backward(torch.tensor([0.7, -3.0, 2.0], device=device))
        found.append(losses.detach())
        gradients.append(logits.grad)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_half_precision_logits_have_losses_in_single_and_gradients_in_half(form: None, device: torch.device) -> None:
    logits = torch.randn(4, 3, generator=tiny.stream(0)).to(device, torch.bfloat16).requires_grad_()
    losses = soft_losses.soft_losses(logits, torch.eye(4, device=device)[:, :3], 2)
    sum(losses).backward()  # type: ignore[union-attr]
    assert all(one.dtype == torch.float32 for one in losses) and logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16 and bool(logits.grad.isfinite().all())
    assert soft_targets.soft_targets([logits.detach()], 0.5).dtype == torch.float32


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # log 0 is meant, and NumPy warns of it
def test_refinement_trusts_the_label_by_the_weight_of_its_row(form: None, device: torch.device) -> None:
    targets = soft_targets.soft_targets
    logits = torch.randn(3, 3, generator=tiny.stream(3)).to(device)
    labels, ones = torch.tensor([0, 2, 1], device=device), torch.ones(3, device=device)
    torch.testing.assert_close(targets([logits], 0.5, labels, ones), torch.eye(3, device=device)[labels])
    torch.testing.assert_close(targets([logits], 0.5, labels, 0 * ones), targets([logits], 0.5))
    assert not targets([logits.clone().requires_grad_()], 0.5).requires_grad
    p = torch.tensor([[0.5, 0.5], [0.2, 0.8]], device=device)
    found = targets([p.log()], 1.0, labels[:1].repeat(2) + torch.arange(2, device=device), ones[:2] * 0.5)
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25], [0.1, 0.9]], device=device))


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(("rows", "classes"), [(0, 3), (1, 1), (3, 2), (17, 10), (5, 33)])
@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("labelled", [False, True])
def test_targets_agree(triton: None, device: torch.device, rows: int, classes: int, views: int, labelled: bool) -> None:
    stream = tiny.stream(rows)
    logits = [(30 * torch.randn(rows, classes, generator=stream)).to(device) for _ in range(views)]
    labels = torch.randint(classes, (rows,), generator=stream).to(device)
    trust = (labels, torch.rand(rows, generator=stream).to(device)) if labelled else (None, None)
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


def test_on_a_cpu_the_plain_form_runs_unless_the_other_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NLKIT_KERNELS", raising=False)
    for operation in SOURCES:
        assert kernels.form(operation, CPU).__name__.endswith(".naive")
    monkeypatch.setenv("NLKIT_KERNELS", "fast")
    refused(lambda: kernels.form("mixture", CPU), "NLKIT_KERNELS is 'fast'; use auto, naive, triton")


def test_a_gpu_gets_triton_where_a_row_says_that_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.delenv("NLKIT_KERNELS", raising=False)
    monkeypatch.setattr(kernels, "FASTER", {"mixture": ("Quick",)})
    for name, chosen in (("Quick", "triton"), ("Slow", "naive")):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert kernels.form("mixture", torch.device("cuda")).__name__ == f"nlkit.kernels.mixture.{chosen}"


def test_kernels_compile_to_machine_code_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter takes much that the compiler refuses."""
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    subprocess.run([sys.executable, "-c", COMPILE.format(sources=SOURCES)], check=True, timeout=300)
