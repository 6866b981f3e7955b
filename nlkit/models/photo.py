"""Networks of other packages: those for photographs from timm and torchvision, with weights, and CLIP as an encoder."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from nlkit.errors import NlkitError
from nlkit.files import locate, project_root
from nlkit.params.sections import PhotoModelParams

HEADS = ("fc.", "classif.", "last_linear.", "classifier.")
"""Beginnings of the names that the last layer has; it is never taken over."""
CLIP, CLIP_SIZE = "ViT-L-14", 224
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def photo_network(params: PhotoModelParams, channels: int, classes: int) -> nn.Module:
    """The network that the parameters name, `body` and linear `classifier`, with weights of a file or of ImageNet.

    Raises NlkitError where weights are missing or belong to another network, and for images that are not in colour.
    """
    if channels != 3:
        raise NlkitError(f"key 'model.name' is '{params.name}': it takes images of 3 channels, not {channels}")
    # Both packages take seconds to import, which readers of the digits need not spend.
    if params.name == "inception_resnet_v2":
        # The official code averages a fixed 8 x 8; here the average takes what there is, so that other sizes work too.
        body: Any = import_module("timm").create_model(params.name, pretrained=False, num_classes=0)
        features = body.num_features
    else:
        body = getattr(import_module("torchvision.models"), params.name.removeprefix("torchvision_"))(weights=None)
        features, body.fc = body.fc.in_features, nn.Identity()
    if params.weights is not None:
        body.load_state_dict(body_weights(params.name, params.weights, body.state_dict()))
    return nn.Sequential(OrderedDict(body=body, classifier=nn.Linear(features, classes)))


def body_weights(name: str, weights: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `weights`, a path or `imagenet`, for a network of this name, without its last layer.

    `own` are the network's tensors. Raises NlkitError for a missing or damaged file and for one of another network.
    """
    here = f"key 'model.weights' is '{weights}'"
    found = _imagenet(name, here) if weights == "imagenet" else _read(locate(weights, project_root()), here)
    found = {key.removeprefix("module."): value for key, value in found.items()}
    found = {key: value for key, value in found.items() if not key.startswith(HEADS)}
    missing = [key for key in own if key not in found and not key.endswith("num_batches_tracked")]
    wrong = [key for key in found if key not in own or found[key].shape != own[key].shape]
    if missing or wrong:
        first = f"it lacks '{missing[0]}'" if missing else f"'{wrong[0]}' does not fit"
        raise NlkitError(f"{here}: not the weights of {name} ({first}; {len(missing)} missing, {len(wrong)} other)")
    return {**own, **found}


def weights_sha256(weights: str) -> str:
    """SHA-256 of a file of weights, for the record; `imagenet` is named by the file's own checksum."""
    if weights == "imagenet":
        return weights
    with locate(weights, project_root()).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, here: str) -> dict[str, Tensor]:
    """Named tensors of a .safetensors, .pt or .pth file; of a pickle, tensors only are read."""
    if path.exists() and not path.is_file():
        raise NlkitError(f"{here}: {path} is not a regular file")
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise NlkitError(f"{here}: cannot read {path} ({error.strerror or error})") from None
    except Exception as error:  # a damaged file can raise almost anything
        raise NlkitError(f"{here}: {path} is not a file of weights ({' '.join(str(error).split())[:120]})") from None
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise NlkitError(f"{here}: {path} does not hold tensors by name")
    return content


def _imagenet(name: str, here: str) -> dict[str, Tensor]:
    """torchvision's first ImageNet weights, the ones that were there when the papers were written."""
    if not name.startswith("torchvision_"):
        raise NlkitError(f"{here}: torchvision has no weights of {name}; name a file")
    models = import_module("torchvision.models")
    entry = models.get_model_weights(name.removeprefix("torchvision_")).IMAGENET1K_V1
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
        raise NlkitError(
            f"{here}: not here and not to be had ({str(error)[:80]}); download {entry.url} to {file}, or name a file"
        ) from None


def clip_features(
    weights: str | None, mean: Sequence[float], std: Sequence[float], device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Image embeddings float32 [B, 768] of ViT-L/14, not made unit length, of inputs normalised by mean and std.

    `weights` is a file that open_clip reads. Raises NlkitError where the package or the file is not there.
    """
    model = _clip_model(weights).to(device).float().requires_grad_(False).eval()
    given = mean, std, CLIP_MEAN, CLIP_STD
    shift, scale, clip_shift, clip_scale = (torch.tensor(values, device=device)[:, None, None] for values in given)

    def encode(views: Tensor) -> Tensor:
        pixels = functional.interpolate((views * scale + shift).float(), (CLIP_SIZE, CLIP_SIZE), mode="bicubic")
        return model.encode_image((pixels - clip_shift) / clip_scale).float()

    return encode


def _clip_model(weights: str | None) -> Any:
    here = "key 'method.encoder.kind' is 'clip'"
    try:
        open_clip = import_module("open_clip")
    except ImportError:
        raise NlkitError(
            f"{here}: the package open_clip is not installed; install open_clip_torch, or give features "
            "made elsewhere with method.encoder.kind 'file'"
        ) from None
    if weights is None or not Path(weights).is_file():
        raise NlkitError(
            f"{here}: method.encoder.weights is {weights!r}, which is no file; place the weights of "
            f"OpenAI's {CLIP} there, in a form that open_clip reads"
        )
    try:
        return open_clip.create_model(CLIP, pretrained=weights, force_quick_gelu=True)
    except Exception as error:  # damaged weights can raise almost anything
        text = " ".join(str(error).split())[:160]
        raise NlkitError(f"{weights}: open_clip cannot read it as weights of {CLIP} ({text})") from None
