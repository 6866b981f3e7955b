"""The command line: run, show, adopt, clean, data, bench."""

import argparse
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import nlkit
from nlkit.errors import NlkitError

ENCODERS = ("resnet18", "resnet50")
DEVICES = ("auto", "cpu", "cuda")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; whatever fails is told in one line.

    Returns 0, 2 for bad input and for what the machine refuses, 1 for bad photographs and mistakes of this package, or
    130 when interrupted.
    """
    next_time = "the same command resumes after the last finished epoch"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # letters that the terminal lacks
    try:
        options = _parser().parse_args(arguments)
        if getattr(options, "fresh", False):
            next_time = "--fresh starts over"
        next_time = getattr(options, "next_time", next_time)
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except NlkitError as error:
        print(f"nlkit: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        return _failed(error)
    except KeyboardInterrupt:
        print(f"nlkit: interrupted; {next_time}", file=sys.stderr)
        return 130


def _failed(error: Exception) -> int:
    """Tell an error that nobody has foreseen in one line; the traceback of a mistake goes to a file."""
    code, text, told = 2, NlkitError(str(error)), "" if isinstance(error, OSError) else str(error)
    if isinstance(error, MemoryError) or "memory" in told:  # PyTorch's are RuntimeErrors
        said = "out of memory; make batches, images or the network smaller (training.batch_size, model.width)"
    elif isinstance(error, OverflowError) or "Overflow" in told:
        said = f"a number in the parameters is too large ({text})"
    elif isinstance(error, OSError):
        said = f"the system refuses: {text}"
    else:
        with tempfile.NamedTemporaryFile("w", prefix="nlkit-", suffix=".txt", delete=False, encoding="utf-8") as log:
            log.write("".join(traceback.format_exception(error)))
        said = f"a mistake of this program: {type(error).__name__} ({text}); please report it with the file {log.name}"
        code = 1
    print(f"nlkit: {said}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # a closed pipe or a full disk; the interpreter would complain once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        raise NlkitError(f"{message}; see `{self.prog} --help`")


def _parser() -> argparse.ArgumentParser:
    root, training = _Parser(add_help=False), _Parser(add_help=False)
    root.add_argument("--data", type=Path, metavar="ROOT", help="data root (default: $NLKIT_DATA, else data/)")
    training.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="override a dotted key")
    training.add_argument("--device", choices=DEVICES, default="auto")
    training.add_argument("--quiet", action="store_true", help="no progress bar, no table of settings")
    parser = _Parser(prog="nlkit", description="Learning with noisy labels.")
    parser.add_argument("--version", action="version", version=f"nlkit {nlkit.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="train, resume, or say that the record exists", parents=[training, root])
    run.add_argument("params", type=Path, help="a parameter file, for example params/dividemix/digits-sym-50.yaml")
    run.add_argument("--out", type=Path, help="folder of the record (default: runs/<paper>/<cell>/seed-<k>)")
    run.add_argument("--fresh", action="store_true", help="start from nothing, never load a record")
    run.set_defaults(command=_run)

    about = "check a finished record and copy it to results/, with its gallery"
    adopt = commands.add_parser("adopt", help=about, parents=[root])
    show = commands.add_parser("show", help="print what a record says")
    for reader, command in ((adopt, _adopt), (show, _show)):
        reader.add_argument("folder", type=Path, help="a folder with record.json, or that file")
        reader.set_defaults(command=command)

    _clean_options(commands.add_parser("clean", help="find wrong labels among images of your own", parents=[training]))

    data = commands.add_parser("data", help="what data are here, fetch them, check them")
    data.set_defaults(command=_data)
    actions = data.add_subparsers(required=True, metavar="ACTION", dest="action")
    actions.add_parser("status", help="what is present, and where it is looked for", parents=[root])
    get = actions.add_parser("get", help="download, or say where it comes from", parents=[root])
    verify = actions.add_parser("verify", help="read and check; ends with 1 if photographs are bad", parents=[root])
    for named in (get, verify):
        named.add_argument("name")
    verify.add_argument("--list", type=Path, metavar="FILE", help="write all bad photographs to a CSV file")
    verify.add_argument("--quiet", action="store_true", help="no progress bar")

    bench = commands.add_parser("bench", help="how fast this machine trains, and what whole runs would take")
    bench.add_argument("--device", choices=DEVICES, default="auto")
    bench.add_argument("--quick", action="store_true", help="fewer images and steps, and rougher numbers")
    bench.set_defaults(command=_bench, next_time="nothing is kept")
    return parser


def _clean_options(clean: argparse.ArgumentParser) -> None:
    clean.add_argument("folder", type=Path, nargs="?", help="the folder of the images (none with a file of features)")
    clean.add_argument("--features", help=f"a file of frozen features, or an encoder: {', '.join(ENCODERS)}")
    clean.add_argument("--labels", type=Path, help="a CSV file path,label (default: each sub-folder is a class)")
    clean.add_argument("--out", type=Path, default=Path("scores.csv"), help="the CSV file of the scores")
    clean.add_argument("--method", default="elr", help="elr, dividemix, tcl, ... (default: elr)")
    held_out = clean.add_mutually_exclusive_group()
    held_out.add_argument("--test", type=Path, help="a CSV file path,label of images to test on")
    held_out.add_argument("--hold-out", type=float, default=0.0, metavar="SHARE", help="share to test on, at random")
    clean.add_argument("--truth", metavar="COLUMN", help="correct labels in --labels, for measuring only")
    clean.add_argument("--size", type=int, help="side in pixels that images are scaled to")
    clean.add_argument("--epochs", type=int)
    clean.add_argument("--flip", action="store_true", help="train on mirror images too")
    clean.add_argument("--corrupt", choices=("drop", "fail"), default="drop", help="what to do with unreadable images")
    clean.add_argument("--seed", type=int, default=0)
    clean.add_argument("--overwrite", action="store_true", help="replace scores that are there")
    clean.set_defaults(command=_clean)


def _run(options: argparse.Namespace) -> int:
    from nlkit import parallel
    from nlkit.params import load_params, parse_override
    from nlkit.training.runs import run_of_cell

    params = load_params(options.params, **dict(parse_override(text) for text in options.set))
    with parallel.joined(options.device):
        progress = parallel.is_first() and not options.quiet
        done = run_of_cell(params, options.out, options.data, options.device, options.fresh, progress)
        if not parallel.is_first():
            return 0
    accuracy = done.record["accuracy"]
    print(f"{'record exists' if done.origin == 'loaded' else done.origin}: {done.folder / 'record.json'}")
    if accuracy["last"] is not None:
        print(f"test accuracy: last {accuracy['last']:.2f} %, best (selected on the test set) {accuracy['best']:.2f} %")
    return 0


def _clean(options: argparse.Namespace) -> int:
    from nlkit.cleaning.results import print_findings, print_settings

    if options.features is not None:
        print_findings(_clean_features(options))
        return 0
    if options.folder is None:
        raise NlkitError("clean: name the folder of the images, or a file of features with --features")
    from nlkit.cleaning import Options, clean
    from nlkit.params import parse_override

    asked = {name: getattr(options, name) for name in Options.model_fields if name != "settings"}
    settings = dict(parse_override(text) for text in options.set)
    say = None if options.quiet else print_settings
    place = options.folder, options.labels, options.out
    print_findings(clean(*place, not options.quiet, say, settings=settings, **asked))
    return 0


def _clean_features(options: argparse.Namespace) -> Any:
    from nlkit.cleaning.features import clean_features, encode_images

    features, encoded = options.features, options.features in ENCODERS
    unused = ["test", "method", "size", "epochs", "flip", "set", *([] if encoded else ["folder", "corrupt", "device"])]
    plain = _parser().parse_args(["clean"])
    for name in unused:
        if getattr(options, name) != getattr(plain, name):
            raise NlkitError(f"{'' if name == 'folder' else '--'}{name}: has no meaning with --features {features}")
    if encoded:
        if options.folder is None:
            raise NlkitError(f"--features {features}: name the folder of the images to encode")
        place = options.folder, options.labels, options.truth
        features = encode_images(features, *place, options.corrupt, options.device, not options.quiet)
    names = ("labels", "out", "hold_out", "truth", "seed", "overwrite")
    return clean_features(features, **{name: getattr(options, name) for name in names})


def _show(options: argparse.Namespace) -> int:
    from nlkit.training.records import facts
    from nlkit.training.runs import load_run

    for name, value in facts(load_run(options.folder)):
        print(f"{name:<9} {NlkitError(value)}")  # without control characters
    return 0


def _adopt(options: argparse.Namespace) -> int:
    from nlkit.figures.images import write_gallery
    from nlkit.files import project_root
    from nlkit.training.records import adopt
    from nlkit.training.runs import load_run

    load_run(options.folder)
    results = project_root() / "results"
    if not (results.parent / "params").is_dir():
        raise NlkitError(f"adopt: {results.parent} is no project with params/ and notebooks/; call it inside one")
    target = adopt(options.folder, results)
    print(f"adopted: {target}")
    try:
        write_gallery(load_run(target), options.data)
    except NlkitError as error:
        print(f"its gallery was left out: {error}")
    return 0


def _data(options: argparse.Namespace) -> int:
    from nlkit import data, noise
    from nlkit.data.photos.catalog import SOURCES

    root, known = data.data_root(options.data), data.sources() | noise.label_sources()
    if options.action == "status":
        for row in data.status(root, known):
            print(f"{row.name:<13} {row.state:<11} {row.where}  {row.note}".rstrip())
    elif options.action == "get":
        data.get(options.name, root, known)
    elif options.name in SOURCES:
        return _verify_photos(options, root)
    elif options.list is not None:
        raise NlkitError(f"--list: {options.name} has no photographs; they are {', '.join(SOURCES)}")
    else:
        print(data.verify(options.name, root, known))
    return 0


def _verify_photos(options: argparse.Namespace, root: Path) -> int:
    from nlkit.data.photos.catalog import verify_photos
    from nlkit.files import check_place, write_atomically

    if options.list is not None:
        check_place(options.list, "part,path,fault")
    flaws, report = verify_photos(options.name, root, not options.quiet)
    print(report)
    if options.list is not None:
        write_atomically(options.list, flaws.to_csv(index=False, lineterminator="\n"))
    return 1 if len(flaws) else 0


def _bench(options: argparse.Namespace) -> int:
    from nlkit.training.bench import bench
    from nlkit.training.runs import choose_device

    bench(choose_device(options.device), options.quick)
    return 0
