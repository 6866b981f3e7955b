"""The parameters of the optimiser and of the loop around a method."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nlkit.sections import NonNegative, Positive, PositiveFloat, Section


class OptimParams(Section):
    """SGD with momentum; the learning rate is multiplied by `drop_factor` at each epoch in `drop_epochs`."""

    lr: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 5e-4
    drop_epochs: tuple[int, ...] = ()
    drop_factor: PositiveFloat = 0.1


class TrainingParams(Section):
    """Length, batch sizes, precision and CPU threads of a run, and the epochs whose samples are recorded."""

    epochs: Positive
    batch_size: Positive = 64
    eval_batch_size: Positive = 1000
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Positive | None = None
    snapshots: tuple[int, ...] = ()
