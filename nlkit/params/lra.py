"""The parameters of LRA-diffusion and of the frozen encoders that it retrieves labels with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nlkit.params.sections import MixtureParams, NonNegative, Positive, PositiveFloat, Section, added


class PixelsParams(Section):
    """The normalised pixels themselves."""

    kind: Literal["identity"]


class FeatureFileParams(Section):
    """One row of features for each training and each test image, in the order of the data set, `.npy` or `.npz`.

    `others` are the files of further test sets, by their names.
    """

    kind: Literal["file"]
    train: str
    test: str
    others: dict[str, str] = added({})


class SimCLREncoderParams(Section):
    """The encoder of one of our own SimCLR runs; `params` is its parameter file."""

    kind: Literal["simclr"]
    params: str


class ClipParams(Section):
    """CLIP ViT-L/14 through open_clip; `weights` is a file of its weights."""

    kind: Literal["clip"]
    weights: str | None = None


class LRADiffusionParams(Section):
    """LRA-diffusion (Chen et al., NeurIPS 2023), in the paper's symbols where it has them.

        encoder: the frozen f_p; query: whether f_p sees the current view of an image or its row of the bank is taken;
    bank: whether f_p saw one random view of each image or the image as it is; retrieval, k, exclude_self,
    weighted: see `nlkit.parts.retrieval`; draws: label vectors for each image and step; width: h; timesteps: T;
    sampling_steps: S; lr_warm_up and horizon: of the learning rate, in epochs, horizon = the run's epochs where it
    is left out; clip_norm: of the gradients of e and of the noise predictor, each; evaluate: which weights the
    result is of; balanced: size of the class-balanced random subset of an epoch, all images where it is left out.
    `optim.lr` is the peak of the learning rate, `optim.momentum` Adam's beta_1.
    """

    name: Literal["lra_diffusion"]
    encoder: Annotated[PixelsParams | FeatureFileParams | SimCLREncoderParams | ClipParams, Field(discriminator="kind")]
    query: Literal["view", "cached"] = "view"
    bank: Literal["view", "plain"] = "view"
    distance: Literal["euclidean", "cosine"] = "euclidean"
    retrieval: Literal["online", "precomputed"] = "online"
    k: Positive = 10
    exclude_self: bool = False
    weighted: bool = True
    draws: Positive = 1
    train_encoder: bool = True
    width: Annotated[int, Field(ge=2)] = 512
    timesteps: Annotated[int, Field(ge=2)] = 1000
    sampling_steps: Positive = 10
    lr_warm_up: NonNegative = 5.0
    horizon: PositiveFloat | None = None
    clip_norm: PositiveFloat = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    evaluate: Literal["ema", "raw"] = "ema"
    balanced: Positive | None = added(None)
    mixture: MixtureParams = MixtureParams()

    @model_validator(mode="after")
    def _possible(self) -> LRADiffusionParams:
        if 2 * self.sampling_steps > self.timesteps:
            raise ValueError("method.sampling_steps is more than half of method.timesteps; they would not be distinct")
        if self.retrieval == "precomputed" and self.query == "view":
            raise ValueError("method.retrieval 'precomputed' needs method.query 'cached'")
        if self.encoder.kind == "file" and (self.query, self.bank) != ("cached", "plain"):
            raise ValueError("method.encoder.kind 'file' needs method.query 'cached' and method.bank 'plain'")
        return self
