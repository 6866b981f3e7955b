"""Which form of an operation runs, and that Triton's can be compiled for a GPU where there is none."""

import subprocess
import sys

import pytest
import torch
from fuzzing import refused

from nlkit import kernels

CPU = torch.device("cpu")
SOURCES = {
    "crop_flip": [
        {**dict.fromkeys(["dy", "dx"], "*i64"), "images": "*u8", "flip": "*i1", "mean": "*fp32", "std": "*fp32",
         "out": out, **dict.fromkeys(["batch", "height", "width"], "i32"), "channels": 3, "narrow": out == "*i16",
         "block": 1024}
        for out in ("*fp32", "*i16")
    ],
    "mixture": [
        {**dict.fromkeys(["values", "settings", "out"], "*fp64"), "inside": "*i1", "high": "*i1", "length": "i32",
         "max_iter": "i32", "block": 1024}
    ],
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
