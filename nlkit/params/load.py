"""The typed parameters of a run: the one door through which settings come in."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from nlkit.errors import NlkitError
from nlkit.params.agreement import check
from nlkit.params.baselines import ConfidentLearningParams, CrossEntropyParams, ELRParams, MixupParams
from nlkit.params.codim import CoDiMParams
from nlkit.params.data import AnyDataParams
from nlkit.params.dividemix import DivideMixParams
from nlkit.params.files import read_tree, resolve_base
from nlkit.params.lra import LRADiffusionParams
from nlkit.params.noise import AnyNoiseParams
from nlkit.params.pretrain import PretrainParams
from nlkit.params.sections import Name, Section
from nlkit.params.tcl import TCLParams, TCLPlusParams
from nlkit.params.training import AnyModelParams, OptimParams, TrainingParams
from nlkit.params.views import AnyViewParams, ViewParams


class Params(Section):
    """Everything that decides the outcome of a run."""

    paper: Literal[
        "cross_entropy", "mixup", "elr", "confident_learning", "dividemix", "tcl", "simclr", "codim", "lra_diffusion"
    ]
    cell: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: Annotated[AnyDataParams, Field(discriminator="name")]
    noise: Annotated[AnyNoiseParams, Field(discriminator="kind")]
    views: AnyViewParams = ViewParams()
    model: Annotated[AnyModelParams, Field(discriminator="name")]
    optim: OptimParams
    training: TrainingParams
    method: Annotated[
        CrossEntropyParams
        | MixupParams
        | ELRParams
        | ConfidentLearningParams
        | DivideMixParams
        | TCLParams
        | TCLPlusParams
        | PretrainParams
        | CoDiMParams
        | LRADiffusionParams,
        Field(discriminator="name"),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        check(self)
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved parameters: the identity of a run."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def view_side(params: Params) -> int | None:
    """The side in pixels of the views of photographs; None for images that have one size."""
    return getattr(params.views, "size", None)


def load_params(path: str | Path, **overrides: Any) -> Params:
    """Read a parameter file and apply overrides, whose keys may be dotted (`**{"noise.rate": 0.2}`).

    Raises NlkitError for a missing or unreadable file, an unknown key, a wrong type or an impossible value.
    """
    return make_params(read_tree(Path(path)), overrides, source=str(path))


def make_params(content: Mapping[str, Any], overrides: Mapping[str, Any], source: str) -> Params:
    """Resolve nested keys and dotted overrides to Params; `source` names the origin in an error message."""
    try:
        merged: dict[str, Any] = json.loads(json.dumps(resolve_base(content, source), default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise NlkitError(f"{source}: not a tree of keys and plain values ({error})") from None
    for key, value in overrides.items():
        _assign(merged, key, value, source)
    try:
        return Params.model_validate_json(json.dumps(merged, default=str))
    except ValidationError as error:
        raise NlkitError(f"{source}: {_first_problem(error)}") from None
    except ValueError as error:
        raise NlkitError(f"{source}: {error}") from None


def _assign(tree: dict[str, Any], dotted: str, value: Any, source: str) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        branch = tree.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise NlkitError(f"{source}: key '{dotted}': '{parent}' holds a value, not a group of keys")
        tree = branch
    if isinstance(value, Mapping) and isinstance(tree.get(last), dict):
        for key, inner in value.items():
            _assign(tree[last], str(key), inner, source)
    else:
        tree[last] = value


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    # pydantic names the kind after these
    forms = {"method", "strong", "contrast_strong", "encoder", "noise", "data", "views", "model"}
    key = ".".join(str(part) for before, part in itertools.pairwise(("", *first["loc"])) if before not in forms)
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return _untold_branch(key, first.get("ctx", {}))
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}' (value {first['input']!r}); remove it or correct its spelling"
    if first["type"] == "missing":
        return f"key '{key}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"key '{key}' is {first['input']!r}: {message}" if key else message


def _untold_branch(key: str, context: Mapping[str, Any]) -> str:
    """The line for a section whose `kind` or `name`, which tells the other keys, is missing or unknown."""
    key = f"{key}.{str(context['discriminator']).strip(chr(39))}"
    if "tag" not in context:
        return f"key '{key}' is missing"
    return f"key '{key}' is '{context['tag']}': expected one of {context['expected_tags']}"
