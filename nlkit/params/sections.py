"""The sections of a parameter file: what they have in common, images, noise, network, training and mixture."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0, lt=2**31)]
Width = Annotated[int, Field(gt=0, le=2**16)]  # numbers that a network makes of each image
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0, le=1e9)]
PositiveFloat = Annotated[float, Field(gt=0, le=1e9)]
Pixels = Annotated[int, Field(ge=0, le=512)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class Section(BaseModel):
    """A group of parameters: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def added(default: Any) -> Any:
    """A field that a section got later; a record leaves out its default, so that older ones keep their hash."""
    return Field(default, exclude_if=lambda value: value == default)


class MixtureParams(Section):
    """Two-component Gaussian mixture over per-sample losses, fitted by EM."""

    max_iter: Positive = 10
    tol: NonNegative = 1e-2
    reg_covar: PositiveFloat = 5e-4


class ModelParams(Section):
    """The network and the number of channels of its first stage."""

    name: Literal["small_cnn", "pooled_resnet", "preact_resnet18", "resnet34", "resnet50"]
    width: Positive = 64


class PhotoModelParams(Section):
    """A network for photographs: Inception-ResNet-v2 or one of torchvision's residual networks.

    `weights` is a file of weights to start from, or `imagenet` for those that torchvision knows; without it the start
    is random. The last layer is always new.
    """

    name: Literal["inception_resnet_v2", "torchvision_resnet18", "torchvision_resnet34", "torchvision_resnet50"]
    weights: str | None = None


AnyModelParams = ModelParams | PhotoModelParams


class OptimParams(Section):
    """SGD with momentum.

    `steps` multiplies the learning rate by `drop_factor` at each epoch in `drop_epochs`. `cosine` raises it to `lr`
    over the first `warm_up` epochs, and lets it fall by half a cosine to zero at the end of the run.
    """

    lr: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 5e-4
    drop_epochs: tuple[Positive, ...] = ()
    drop_factor: PositiveFloat = 0.1
    schedule: Literal["steps", "cosine"] = added("steps")
    warm_up: NonNegative = added(0.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.schedule == "cosine" and self.drop_epochs:
            raise ValueError("optim.drop_epochs belongs to optim.schedule 'steps', not to 'cosine'")
        if self.schedule == "steps" and self.warm_up:
            raise ValueError("optim.warm_up belongs to optim.schedule 'cosine'")
        return self


class TrainingParams(Section):
    """Length, batch sizes, precision and CPU threads of a run, and the epochs whose samples are recorded.

    `accumulate` batches make one step, which saves memory; statistics and contrast are those of a batch.
    """

    epochs: Positive
    batch_size: Positive = 64
    accumulate: Positive = added(1)
    eval_batch_size: Positive = 1000
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Annotated[int, Field(gt=0, le=1024)] | None = None
    snapshots: tuple[Positive, ...] = ()


GREY = ("digits", "mnist", "fashion_mnist")  # data sets whose images have one channel


class DataParams(Section):
    """Which images to train on; `train_size` keeps the first so many training images."""

    name: Literal["digits", "cifar10", "cifar100", "mnist", "fashion_mnist"]
    train_size: Annotated[int, Field(ge=2, lt=2**31)] | None = None


class FolderDataParams(Section):
    """A folder of images with given labels: a table `path,label`, or one sub-folder a class where `labels` is left out.

    `test` is a table of held-out images, `hold_out` the share to hold out at random instead, drawn by `split_seed`.
    `truth` names a column of correct labels that only the measurement sees. `side` is the side of the squares that
    images become. `corrupt` says whether an unreadable image is dropped or ends the run. `sha256`, where it is given,
    must be that of the pixels and labels that are found.
    """

    name: Literal["folder"]
    folder: str
    labels: str | None = None
    test: str | None = None
    hold_out: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    split_seed: int = 0
    truth: str | None = None
    side: Annotated[int, Field(ge=8, le=512)]
    corrupt: Literal["drop", "fail"] = "drop"
    sha256: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.test is not None and self.hold_out:
            raise ValueError("data.test and data.hold_out exclude each other; give one of them")
        if self.truth is not None and self.labels is None:
            raise ValueError("data.truth names a column of data.labels, which is missing")
        if self.truth in ("path", "label"):
            raise ValueError("data.truth must be a column other than 'path' and 'label'")
        return self


class PhotoDataParams(Section):
    """A data set of photographs in its official layout below the data root.

    `short` is the length of the short side, in pixels, that images are decoded to once. `corrupt` says whether an
    unreadable image is dropped, and listed, or ends the run. `staged_gib` is the most of a GPU's memory that decoded
    images may take, 60 % of what is free where it is left out; what does not fit is read batch by batch.
    """

    name: Literal["webvision", "food101n", "clothing1m", "animal10n"]
    short: Annotated[int, Field(ge=8, le=512)]
    corrupt: Literal["drop", "fail"] = "drop"
    staged_gib: NonNegative | None = added(None)


AnyDataParams = DataParams | FolderDataParams | PhotoDataParams


class ExtraNoiseParams(Section):
    """Noise on top of other noise: each observed label is hit with probability `rate`, whatever the image.

    `uniform` moves it to one of the other classes, `asymmetric` to the class that looks alike.
    """

    kind: Literal["uniform", "asymmetric"]
    rate: Fraction


class PMDNoiseParams(Section):
    """Polynomial-margin-diminishing noise (Zhang et al., ICLR 2021): labels are wrong where a classifier is unsure.

    `type` is the noise function, I to III. Either `rate` is the wanted share of wrong labels, to which the factor
    is fitted, or `factor` is given. `reading` says what the factor does: `code` divides the chance to keep the
    most probable class, `paper` multiplies the chance to leave it. `probabilities` are `trained` here on clean
    labels, or a file of them, one row an image. `extra` makes a hybrid.
    """

    kind: Literal["pmd"]
    type: Literal[1, 2, 3] = 1
    rate: Fraction | None = None
    factor: PositiveFloat | None = None
    reading: Literal["code", "paper"] = "code"
    probabilities: str = "trained"
    extra: ExtraNoiseParams | None = None
    seed: int = 123

    @model_validator(mode="after")
    def _one_of_rate_and_factor(self) -> Self:
        if (self.rate is None) == (self.factor is None):
            raise ValueError("noise.kind 'pmd' needs either noise.rate or noise.factor, and not both")
        return self

    @property
    def nominal(self) -> float | None:
        """The share of wrong labels that was asked for; None where a factor was, or where noise lies on top."""
        return self.rate if self.extra is None else None


class NoiseParams(Section):
    """How the observed labels come about; `rate` is the nominal rate of the generator."""

    kind: Literal["none", "symmetric", "asymmetric", "human", "file"]
    rate: Fraction = 0.0
    seed: int = 123
    own_class: bool = True
    annotator: Literal["aggregate", "random1", "random2", "random3", "worst", "fine"] | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for kind, key in (("human", "annotator"), ("file", "file")):
            if self.kind == kind and getattr(self, key) is None:
                raise ValueError(f"noise.kind '{kind}' needs noise.{key}")
        return self

    @property
    def nominal(self) -> float | None:
        """The share of wrong labels that was asked for; None where none was."""
        return self.rate if self.kind in ("symmetric", "asymmetric") else None


AnyNoiseParams = NoiseParams | PMDNoiseParams


def check_noise(noise: AnyNoiseParams, data: str) -> None:
    """Raise ValueError for noise that is not defined for the data set of this name."""
    if isinstance(noise, NoiseParams) and noise.kind == "human":
        needed = "cifar100" if noise.annotator == "fine" else "cifar10"
        if data != needed:
            raise ValueError(f"noise.annotator '{noise.annotator}' needs data.name '{needed}'")
    if noise.kind == "asymmetric" and data not in ("cifar10", "digits"):
        raise ValueError("noise.kind 'asymmetric' is defined for cifar10 and digits only")
