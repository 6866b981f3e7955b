"""CLIP as a frozen encoder, where open_clip and its weights are installed."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.errors import NlkitError

MODEL, SIZE = "ViT-L-14", 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def clip_features(
    weights: str | None, mean: Sequence[float], std: Sequence[float], device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Image embeddings float32 [B, 768] of ViT-L/14, not made unit length, of inputs normalised by mean and std.

    `weights` is a file that open_clip reads. Raises NlkitError where the package or the file is not there.
    """
    model = _model(weights).to(device).float().requires_grad_(False).eval()
    shift, scale = (torch.tensor(values, device=device)[:, None, None] for values in (mean, std))

    def encode(views: Tensor) -> Tensor:
        return model.encode_image(preprocess(views * scale + shift)).float()

    return encode


def preprocess(pixels: Tensor) -> Tensor:
    """CLIP's inputs [B, 3, 224, 224] from pixels [B, 3, S, S] in 0..1: bicubic, with CLIP's statistics.

    Bicubic values may leave 0..1 a little, as in the official code.
    """
    large = functional.interpolate(pixels.float(), size=(SIZE, SIZE), mode="bicubic", align_corners=False)
    shift, scale = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, STD))
    return (large - shift) / scale


def _model(weights: str | None) -> Any:
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
            f"OpenAI's {MODEL} there, in a form that open_clip reads"
        )
    try:
        return open_clip.create_model(MODEL, pretrained=weights, force_quick_gelu=True)
    except Exception as error:  # damaged weights can raise almost anything
        text = " ".join(str(error).split())[:160]
        raise NlkitError(f"{weights}: open_clip cannot read it as weights of {MODEL} ({text})") from None
