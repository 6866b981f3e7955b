"""What the groups of parameters have in common: bounds, strictness, and the mixture's section."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
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
