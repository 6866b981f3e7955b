"""What groups of parameters have in common, bounds and strictness, and those of network, training and mixture."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0, lt=2**31)]
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
