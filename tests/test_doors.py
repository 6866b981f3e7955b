"""Odd input by machine through every door: exit 0 with outputs that can be read, or exit 2 with one line.

What lay there before is unchanged, and a refusal leaves nothing. NLKIT_EXAMPLES says how many examples slow tests try.
"""

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import yaml
from fuzzing import NUMBERS, call, door, odd, texts, watched, world
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures import write_images

from nlkit import NlkitError, load_params
from nlkit.cli import main
from nlkit.data.listing import read_table
from nlkit.params import make_params, read_tree, registry
from nlkit.training import records
from nlkit.training.provenance import peak_memory

FILES = sorted((Path(__file__).parents[1] / "params").glob("*/*.yaml"))[::7]
PLACES = ["images", "labels.csv", "f.npz", "done", "taken", "taken.csv", "new", "new.csv", "new/deep.csv", "pipe", "."]
PLACES += ["elr.yaml", "done/record.json", "images/a/0.png", "/dev/null", "none", "cuda", "elr", "resnet18", "fail"]
DTYPES = ["f8", "f8", "f2", ">f4", "i8", "u1", "?", "c8", "U3", "S2", "M8[s]"]
SHAPES = [(12, 3), (12, 3), (12, 3), (12, 1), (0, 3), (12, 0), (12,), (12, 3, 1), (11, 3), ()]
CLEAN = "--features --labels --out --method --test --hold-out --truth --size --epochs --flip --corrupt --seed -s"
FLAGS = {"run": "--out --data --device -s -s -s -s --fresh", "clean": f"{CLEAN} --overwrite --device"}
FLAGS |= {"data": "--list --data", "adopt": "--data", "show": "--help"}
RUNS = [f"{name}.yaml" for name in registry.names()]
FIRST = {"run": RUNS, "data": ["status", "get", "verify"], "clean": ["images"], "show": ["done"], "adopt": ["done"]}
KEYS = sorted({key for name in registry.names() for key in pd.json_normalize(tiny.params(name).model_dump())})
IMAGES, OUT = ["images", "--epochs", "1", "--size", "8"], ["--out", "s.csv", "--quiet"]
ROWS = [[f"{'ab'[i % 2]}/{i}.png", f"c{i % 2}", f"c{i % 2}"] for i in range(12)]

words = st.sampled_from(PLACES) | texts | st.sampled_from(NUMBERS).map(str)
which = st.integers(0, 10**6)
template = Path()


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with something for every command, and no network; at the end, how much memory all took."""
    folder = write_images(tmp_path_factory.mktemp("doors"), 2, 6)
    (folder / "taken.csv").write_text("my,table")
    for name in ("params", "notebooks", "taken", "images/a", "images/b"):
        (folder / name).mkdir()
        (folder / name / "notes.txt").write_text("mine")
    for place, *_ in ROWS:
        (folder / "images" / place[2:]).rename(folder / "images" / place)
    pd.DataFrame(ROWS, columns=["path", "label", "truth"]).to_csv(folder / "labels.csv", index=False)
    np.savez(folder / "f.npz", features=np.random.default_rng(0).random((12, 3)), labels=np.arange(12) % 2)
    tiny.in_project(tiny.params("cross_entropy", **{"data.train_size": 64, "training.epochs": 2}), folder)
    for name in RUNS:
        few = {"data.train_size": 64, "training.epochs": 4 if name == "tcl_plus.yaml" else 2}
        (folder / name).write_text(yaml.safe_dump(tiny.params(name[:-5], **few).model_dump(mode="json")))
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nlkit.files.subprocess.run", Mock(side_effect=OSError))  # git
        patch.setattr("nlkit.cleaning.results._figures", lambda result: {})
        patch.setattr("nlkit.cleaning.features.encoder", lambda name: network)
        patch.setattr("urllib.request.urlopen", Mock(side_effect=URLError("no network")))
        patch.setitem(globals(), "template", folder)
        assert main(["run", str(folder / "cross_entropy.yaml"), "--out", str(folder / "done"), "--quiet"]) == 0
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux begins anew with the peak
        before = peak_memory()
        yield
    assert (grown := peak_memory() - before) < 1024, f"memory has grown by {grown:.0f} MiB"


names = st.sampled_from(["digits", "cifar10", "food101n", "cifar10n", "mnist"])
said = st.tuples(words, st.sampled_from(KEYS), odd)
flags = {name: st.lists(st.tuples(st.sampled_from(text.split()), said), max_size=4) for name, text in FLAGS.items()}
lines = [st.tuples(st.just(name), st.sampled_from(FIRST[name]) | words, flags[name]) for name in FLAGS]


@door(st.one_of(lines), names | words, st.sampled_from([None, None, None, 1, 0]))
def test_odd_command_lines(line: tuple[str, str, list[tuple[str, Any]]], name: str, most: int | None) -> None:
    command, first, given = line
    said = ["--device", "cpu", "--quiet"] if command in ("run", "clean") else []
    said += [name] if first in ("get", "verify") else []
    said += IMAGES[1:] if command == "clean" and "--features" not in [flag for flag, *_ in given] else []
    for flag, (word, key, value) in given:
        alone = flag in ("--fresh", "--help", "--flip", "--overwrite")
        said += [flag] if alone else [flag, f"{key}={json.dumps(value)}" if flag == "-s" else word]
    with world(template):
        call(*[command, first, *said][:most])


@door(st.sampled_from(FILES), st.lists(st.tuples(which, odd), max_size=2), st.lists(texts | odd.map(repr)), which)
def test_odd_parameters(file: Path, changes: list[tuple[int, Any]], words: list[str], how: int) -> None:
    tree = read_tree(file)
    keys = [*pd.json_normalize(tree), *tree, "a.b"]
    text = yaml.safe_dump(tree) if how % 4 else "\n".join(f"{keys[how % len(keys)]}: {word}" for word in words)
    with world(template), watched():
        path = Path("some.yaml")
        path.write_bytes(text.encode(errors="surrogateescape"))
        try:
            params = load_params(path, **{keys[place % len(keys)]: value for place, value in changes})
        except NlkitError as error:
            assert "\n" not in str(error) and str(error).startswith("some.yaml: ")
        else:
            again = make_params(params.model_dump(mode="json"), {}, "again")
            assert (again, again.digest) == (params, params.digest)


cells = st.sampled_from([cell for row in ROWS for cell in row]) | texts
edits = st.lists(st.tuples(which, which, cells), max_size=4)
codes = st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"])


@door(edits, st.lists(st.lists(cells, max_size=4), max_size=2), st.sampled_from(["\n", "\r\n", "\r"]), codes, which)
def test_odd_tables(changes: list[tuple[int, int, str]], more: list[list[str]], end: str, code: str, how: int) -> None:
    table, text = [["path", "label", "truth"], *map(list, ROWS)], io.StringIO()
    for line, column, cell in changes:
        table[line % 13][column % 3] = cell
    csv.writer(text, lineterminator=end, quoting=how % 2).writerows(table + more)
    content = text.getvalue() if how % 3 else "\n".join(map(",".join, table + more))
    source = [["--features", "f.npz"], IMAGES, ["images", "--features", "resnet18"]][how % 3]
    with world(template):
        Path("t.csv").write_bytes(content.encode(code, "replace" if code == "latin-1" else "surrogatepass"))
        done = call("clean", *source, "--labels", "t.csv", *(["--truth", "truth"] if how % 5 == 0 else []), *OUT)
        if done and how % 3 == 0:
            given, found = ([row for _, row in read_table(Path(f"{x}.csv"), ("path", "label"))] for x in "ts")
            assert [(path, label.strip()) for path, label in given] == found


arrays = hnp.arrays(st.sampled_from(DTYPES), st.sampled_from(SHAPES)) | st.just(np.array([{}] * 12))
columns = st.dictionaries(texts | st.sampled_from(["path", "label", "truth", "f"]), st.lists(odd, max_size=3))
asked = st.lists(st.sampled_from(["--labels labels.csv", "--labels labels.csv --truth truth", "--hold-out 0.3"]))


@door(st.sampled_from([".npy", ".npz", ".parquet", "", ".NPZ"]), arrays, arrays, columns, asked, which)
def test_odd_features(end: str, x: Any, y: Any, more: dict[str, Any], given: list[str], how: int) -> None:
    table = {"path": [row[0] for row in ROWS], "label": ["a", "b"] * 6, "f": np.arange(12.0), "g": 1}
    table |= {name: (values * 12)[:12] or None for name, values in more.items()}
    with world(template):
        with Path(f"odd{end}").open("wb") as file, contextlib.suppress(Exception):  # no such file
            if end == ".parquet":
                pd.DataFrame(table).head([12, 12, 12, 12, 4, 0][how % 6]).to_parquet(file)
            elif end == ".npy":
                np.save(file, x)
            else:
                np.savez(file, **{"features" if how % 4 else "x": x, "labels": y.ravel()[:12]})
        call("clean", "--features", f"odd{end}", *" ".join(given).split(), *OUT)


@door(st.lists(st.tuples(which, odd | st.just(...)), max_size=3), st.sampled_from(["show", "adopt"]), which)
def test_odd_records(changes: list[tuple[int, Any]], command: str, how: int) -> None:
    with world(template):
        path = Path("done/record.json")
        branches = [json.loads(path.read_text())]
        for branch in branches:
            branches += [inner for inner in branch.values() if isinstance(inner, dict)]
        places = [(branch, key) for branch in branches for key in branch]
        for place, value in changes:
            branch, key = places[place % len(places)]
            branch.pop(key, None) if value is ... else branch.update({key: value})
        with contextlib.suppress(NlkitError, KeyError):
            branches[0]["params_sha256" if how % 2 else "other"] = make_params(branches[0]["params"], {}, "odd").digest
        path.write_text(json.dumps(records._sealed(branches[0]) if how % 3 else branches[0]))
        call(command, "done")


names = st.builds(str.__add__, texts, st.sampled_from([".png", ".PNG", ".jpg", "", ".csv"]))
kinds = st.sampled_from(["whole", "cut", "empty", "bomb", "pipe", "folder", "../a/0.png", "/dev/null", "none", "."])
files = st.lists(st.tuples(st.sampled_from(["a", "b", ".", "c", ".c", "é"]), names, kinds), max_size=6)


@door(files, which)
def test_odd_images(files: list[tuple[str, str, str]], how: int) -> None:
    with world(template):
        png = Path("images/a/0.png").read_bytes()
        content = {"whole": png, "cut": png[:50], "empty": b"", "bomb": png[:16] + b"\0\1\x86\xa0" * 2 + png[24:]}
        for place, name, kind in files:
            path = Path(f"images/{place}/{name}")
            with contextlib.suppress(OSError, ValueError):
                path.parent.mkdir(exist_ok=True)
                path.unlink(missing_ok=True)
                if kind in content:
                    path.write_bytes(content[kind])
                elif kind in ("pipe", "folder"):
                    (os.mkfifo if kind == "pipe" else os.mkdir)(path)
                else:
                    path.symlink_to(kind)
        source = ["images", "--features", "resnet18"] if how % 2 else IMAGES
        call("clean", *source, "--corrupt", "drop" if how % 5 else "fail", *OUT)
