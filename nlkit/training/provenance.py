"""Where a result came from: machine, allocator, versions and memory, and the record that tells it."""

import ctypes
import os
import platform
import resource
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from nlkit import parallel
from nlkit.data.problem import Problem
from nlkit.files import commit
from nlkit.lazy import Device, torch
from nlkit.params import Params
from nlkit.params.sections import FolderDataParams
from nlkit.parts import learner
from nlkit.training import measure, records
from nlkit.training.encoders import Encoder
from nlkit.training.loop import Fit

LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "nlkit")
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of mallopt(3)
OTHERS = ("jemalloc", "tcmalloc", "mimalloc")


@cache
def keep_freed_memory() -> str:
    """Tell glibc to serve large blocks from its heap and never to give them back; says what the allocator does now.

    Nothing is changed, and the answer is a name, where there is another C library, another allocator is loaded, or the
    environment sets the allocator (mallopt(3)). Results do not depend on it; a step pays no page faults.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return platform.libc_ver()[0] or platform.system()
    loaded = Path("/proc/self/maps").read_text(errors="replace")
    for name in OTHERS:
        if name in loaded:
            return name
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return "glibc, as the environment sets it"
    library = ctypes.CDLL(None)
    changed = library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1)
    return "glibc, keeps freed memory" if changed else "glibc"


def describe_device(device: Device) -> dict[str, Any]:
    """Type, name and CPU threads of the device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else learner.cpu_name()
    several = {"processes": parallel.count()} if parallel.count() > 1 else {}
    return {"type": device.type, "name": name, "threads": torch.get_num_threads(), **several}


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a result."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def peak_memory() -> float:
    """The most MiB that this process has held; where Linux tells it, without what the process had that started it."""
    with suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def write_record(
    state: Fit, problem: Problem, params: Params[Any], folder: Path, encoder: Encoder | None
) -> records.Record:
    """Write the record of a finished run; raises NlkitError where it cannot be written or would be too large."""
    epochs = pd.DataFrame(state.rows)
    samples = measure.sample_table(problem, state.method, state.split, state.snapshots)
    device, noise, last, network = problem.device, problem.noise, epochs.iloc[-1], state.method.nets[0].net
    gpu = device.type == "cuda"
    info: dict[str, Any] = {
        **params.model_dump(include={"paper", "cell", "seed"}),
        "params": params.model_dump(mode="json"),
        "params_sha256": params.digest,
        "accuracy": measure.summary(epochs),
        "split": {name: None if pd.isna(last[name]) else float(last[name]) for name in ("auc", "precision", "recall")},
        "noise": {"kind": params.noise.kind} | {key: getattr(noise, key) for key in ("nominal", "realised", "sha256")},
        "data": {
            "name": problem.dataset,
            "sha256": problem.sha256,
            "train": len(problem.train),
            "test": {name: len(labels) for name, (_, labels) in problem.tests.items()},
            "classes": list(problem.class_names),
            "warnings": list(problem.warnings),
        },
        "network": {"name": params.model.name, "parameters": sum(weight.numel() for weight in network.parameters())},
        "seconds": float(epochs["seconds"].sum()),
        "peak_memory_mb": torch.cuda.max_memory_allocated() / 2**20 if gpu else peak_memory(),
        "device": describe_device(device) | ({} if gpu else {"allocator": keep_freed_memory()}),
        "precision": str(learner.choose_precision(params.training.precision, device)).removeprefix("torch."),
        "versions": versions(),
        "commit": commit(),
        "started": state.started,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "events": state.method.events,
    }
    if encoder is not None:
        info["encoder"] = encoder.summary()
    if (weights := getattr(params.model, "weights", None)) is not None:
        from nlkit.models.photo import weights_sha256

        info["network"]["weights"] = weights_sha256(weights)
    limit = None if isinstance(params.data, FolderDataParams) else records.LIMIT
    return records.write(folder, info, epochs, samples, limit)
