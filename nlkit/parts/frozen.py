"""Frozen encoders f_p: pixels, rows of a file, and networks that are never trained; with their parameters."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from nlkit.data.listing import read_feature_file
from nlkit.data.problem import Batch, Images, Problem, TrainingSet
from nlkit.errors import NlkitError
from nlkit.files import locate, project_root
from nlkit.lazy import Tensor, functional, no_grad, torch
from nlkit.params import Params, load_params
from nlkit.params.sections import Section, added
from nlkit.parts.learner import choose_precision, through
from nlkit.views import Views

TABLE = ("table.keys", "table.features")
"""Names of the two tensors that a file of features becomes, among those of `TrainingSet.encoder`."""


class PixelsParams(Section):
    """The normalised pixels themselves."""

    kind: Literal["identity"]


class FeatureFileParams(Section):
    """One row of features for each training and each test image, in the order of the data set, `.npy` or `.npz`."""

    kind: Literal["file"]
    train: str
    test: str
    others: dict[str, str] = added({})  # files of further test sets by their names


class SimCLREncoderParams(Section):
    """The encoder of one of our own SimCLR runs; `params` is its parameter file."""

    kind: Literal["simclr"]
    params: str


class ClipParams(Section):
    """CLIP ViT-L/14 through open_clip; `weights` is a file of its weights."""

    kind: Literal["clip"]
    weights: str | None = None


FrozenParams = Annotated[
    PixelsParams | FeatureFileParams | SimCLREncoderParams | ClipParams, Field(discriminator="kind")
]
"""The section of a frozen encoder."""


class NetworkEncoder:
    """z = f_p(x) from a function of normalised inputs; what it made of a set of plain images is remembered."""

    def __init__(self, encode: Callable[[Tensor], Tensor], data: TrainingSet, params: Params[Any]) -> None:
        self.encode, self.plain = encode, Views(params.views, data.mean, data.std, data.images.device).plain
        self.size = params.training.eval_batch_size
        self.known: dict[bytes, Tensor] = {}
        self.features = self.views(self.plain(data.images[:2])).shape[1]

    @no_grad()
    def views(self, views: Tensor) -> Tensor:
        """Features float32 [B, d] of normalised inputs [B, channels, H, W]."""
        return self.encode(views).float()

    def images(self, images: Images) -> Tensor:
        """Features float32 [N, d] of plain images uint8 [N, H, W, C]; the same images are encoded once only."""
        key = image_keys(images).cpu().numpy().tobytes()
        if key not in self.known:
            self.known[key] = torch.cat([self.views(self.plain(part)) for part in images.split(self.size)])
        return self.known[key]


class FeatureTable:
    """Rows of features that were made elsewhere, found by the bytes of their image."""

    def __init__(self, keys: Tensor, features: Tensor) -> None:
        order = keys.argsort(stable=True)
        self.keys, self.rows, self.features = keys[order], features[order], features.shape[1]

    def images(self, images: Images) -> Tensor:
        """The rows [N, d] of plain images; raises NlkitError for an image that is not in the table."""
        keys = image_keys(images)
        place = torch.searchsorted(self.keys, keys).clamp_max(len(self.keys) - 1)
        if missing := int((self.keys[place] != keys).sum()):
            raise NlkitError(f"key 'method.encoder.kind' is 'file': {missing} of {len(images)} images have no features")
        return self.rows[place]

    def views(self, views: Tensor) -> Tensor:
        """Never called: the parameters refuse random views together with a table."""
        raise NotImplementedError


def image_keys(images: Images | Batch) -> Tensor:
    """A number int64 [N] for each image uint8 [N, ...], a random linear function of its bytes; a store has its own."""
    if not isinstance(images, torch.Tensor):
        return images.keys
    flat = images.flatten(1)
    stream = torch.Generator().manual_seed(0x5EED)
    factors = torch.randint(-(2**62), 2**62, (flat.shape[1],), generator=stream).to(images.device)
    return torch.cat([(part.long() * (2 * factors + 1)).sum(dim=1) for part in flat.split(4096)])


def frozen_encoder(encoder: FrozenParams, data: TrainingSet, params: Params[Any]) -> NetworkEncoder | FeatureTable:
    """The encoder f_p of a section, with `features` numbers an image; raises NlkitError where something is missing."""
    match encoder:
        case FeatureFileParams():
            return FeatureTable(*(_given(data, name) for name in TABLE))
        case SimCLREncoderParams(params=reference):
            encode = _pretrained(reference, data, params.training.precision)
        case ClipParams(weights=weights):
            from nlkit.models.photo import clip_features

            encode = clip_features(weights, data.mean, data.std, data.images.device)
        case _:
            encode = partial(torch.flatten, start_dim=1)
    return NetworkEncoder(encode, data, params)


def _pretrained(reference: str, data: TrainingSet, precision: str) -> Callable[[Tensor], Tensor]:
    """The features of the encoder of a SimCLR run, made unit length."""
    from nlkit.models import build_model

    model, device = load_params(locate(reference, project_root())).model, data.images.device
    net = build_model(model, data.images.shape[3], data.classes, seed=0)
    net.classifier = torch.nn.Identity()
    net.load_state_dict({name: _given(data, f"encoder.{name}") for name in net.state_dict()})
    net.to(device, memory_format=torch.channels_last).requires_grad_(False).eval()  # type: ignore[call-overload]
    dtype = choose_precision(precision, device)
    return lambda views: functional.normalize(through(net, views, dtype).float(), dim=1)


def _given(data: TrainingSet, name: str) -> Tensor:
    if data.encoder is None or name not in data.encoder:
        raise NlkitError(f"key 'method.encoder': the training set comes without '{name}'; nlkit.run provides it")
    return data.encoder[name]


def read_feature_table(encoder: FeatureFileParams, problem: Problem, root: Path, cut: bool) -> dict[str, Tensor]:
    """The tensors TABLE of the features in files, for every training and test image of a problem.

    Each row is found by the bytes of its image. `root` is that of the data; with `cut` the training file may have more
    rows than there are images. Raises NlkitError where a file is missing or damaged, has another number of rows than
    there are images, or where two differ in their columns.
    """
    if "test" not in problem.tests:
        raise NlkitError("key 'method.encoder.kind' is 'file': it needs a test set, and nothing is held out")
    paths = {**encoder.others, "test": encoder.test}
    parts = [_rows("train", locate(encoder.train, root), len(problem.train), cut)]
    for name, (images, _) in problem.tests.items():
        if name not in paths:
            raise NlkitError(f"key 'method.encoder.others.{name}' is missing: the features of the test set '{name}'")
        parts.append(_rows(name if name == "test" else f"others.{name}", locate(paths[name], root), len(images)))
        if parts[-1].shape[1] != parts[0].shape[1]:
            widths = f"{parts[0].shape[1]} and {parts[-1].shape[1]} columns"
            raise NlkitError(f"key 'method.encoder': the features of training and test images have {widths}")
    keys = [image_keys(images) for images in (problem.train.images, *(images for images, _ in problem.tests.values()))]
    return {TABLE[0]: torch.cat(keys), TABLE[1]: torch.cat(parts).to(problem.device)}


def _rows(part: str, path: Path, count: int, cut: bool = False) -> Tensor:
    """Features [count, d] of a file; with `cut` it may hold more rows, of which the first are taken."""
    here = f"key 'method.encoder.{part}'"
    try:
        rows = torch.from_numpy(read_feature_file(path))
    except NlkitError as error:
        raise NlkitError(f"{here}: {error}") from None
    if len(rows) < count or (len(rows) > count and not cut):
        raise NlkitError(f"{here}: {path} has {len(rows)} rows; there are {count} images")
    return rows[:count]
