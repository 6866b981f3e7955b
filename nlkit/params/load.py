"""The typed parameters of a run: the one door through which settings come in."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from nlkit.errors import NlkitError
from nlkit.params import registry
from nlkit.params.data import AnyDataParams, FolderDataParams, PhotoDataParams
from nlkit.params.files import read_tree, resolve_base
from nlkit.params.noise import AnyNoiseParams, check_noise
from nlkit.params.sections import Name, Section
from nlkit.params.training import AnyModelParams, OptimParams, TrainingParams
from nlkit.params.views import AnyViewParams, ViewParams, check_views

M = TypeVar("M", bound=registry.MethodParams, covariant=True)
"""The section of a method; `Params[DivideMixParams]` are the parameters of a run of DivideMix."""


class Params(Section, Generic[M]):
    """Everything that decides the outcome of a run."""

    paper: Name
    cell: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: Annotated[AnyDataParams, Field(discriminator="name")]
    noise: Annotated[AnyNoiseParams, Field(discriminator="kind")]
    views: AnyViewParams = ViewParams()
    model: Annotated[AnyModelParams, Field(discriminator="name")]
    optim: OptimParams
    training: TrainingParams
    method: SerializeAsAny[M]

    @model_validator(mode="after")
    def _consistent(self) -> Params[M]:
        check(self)
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved parameters: the identity of a run."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def check(params: Params[Any]) -> None:
    """Raise ValueError, which names the keys, for sections that do not belong together."""
    entry = registry.find(params.method.name)
    check_views(params.data, params.views, params.method)
    if params.paper != entry.paper:
        raise ValueError(f"method.name is '{entry.name}' but paper is '{params.paper}'; they must agree")
    if isinstance(params.data, FolderDataParams | PhotoDataParams) and params.noise.kind != "none":
        raise ValueError(f"data.name '{params.data.name}' needs noise.kind 'none'; its labels are as they were given")
    check_noise(params.noise, params.data.name)
    if params.method.own_schedule and (params.optim.drop_epochs or params.optim.schedule != "steps"):
        key = "drop_epochs" if params.optim.drop_epochs else "schedule"
        raise ValueError(f"optim.{key} has no meaning for {params.paper}, whose learning rate is a curve")
    if entry.check is not None:
        entry.check(params)


def view_side(params: Params[Any]) -> int | None:
    """The side in pixels of the views of photographs; None for images that have one size."""
    return getattr(params.views, "size", None)


def load_params(path: str | Path, **overrides: Any) -> Params[Any]:
    """Read a parameter file and apply overrides, whose keys may be dotted (`**{"noise.rate": 0.2}`).

    Raises NlkitError for a missing or unreadable file, an unknown key, a wrong type or an impossible value.
    """
    return make_params(read_tree(Path(path)), overrides, source=str(path))


def make_params(content: Mapping[str, Any], overrides: Mapping[str, Any], source: str) -> Params[Any]:
    """Resolve nested keys and dotted overrides to Params; `source` names the origin in an error message."""
    try:
        merged: dict[str, Any] = json.loads(json.dumps(resolve_base(content, source), default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise NlkitError(f"{source}: not a tree of keys and plain values ({error})") from None
    for key, value in overrides.items():
        _assign(merged, key, value, source)
    section = _method_section(merged, source)
    try:
        return Params[section].model_validate_json(json.dumps(merged, default=str))  # type: ignore[valid-type]
    except ValidationError as error:
        raise NlkitError(f"{source}: {_first_problem(error)}") from None
    except ValueError as error:
        raise NlkitError(f"{source}: {error}") from None


def _method_section(tree: Mapping[str, Any], source: str) -> type[registry.MethodParams]:
    """The type of the section `method`, which its key `name` tells."""
    method = tree.get("method")
    if not isinstance(method, Mapping):
        return registry.MethodParams  # a mistake, of which the validation tells
    if "name" not in method:
        raise NlkitError(f"{source}: key 'method.name' is missing")
    try:
        return registry.find(str(method["name"])).params
    except NlkitError as error:
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
    forms = {"strong", "contrast_strong", "encoder", "noise", "data", "views", "model"}
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
