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
from nlkit.files import as_path
from nlkit.params import registry
from nlkit.params.files import read_tree, resolve_base
from nlkit.params.sections import (
    AnyDataParams,
    AnyModelParams,
    AnyNoiseParams,
    DataParams,
    Name,
    OptimParams,
    Section,
    TrainingParams,
    check_noise,
)
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
        """Refuses sections that do not belong together."""
        entry, method = registry.find(self.method.name), self.method
        check_views(self.data, self.views, method)
        if self.paper != entry.paper:
            raise ValueError(f"method.name is '{entry.name}' but paper is '{self.paper}'; they must agree")
        if not isinstance(self.data, DataParams) and self.noise.kind != "none":
            raise ValueError(f"data.name '{self.data.name}' needs noise.kind 'none'; its labels are as they were given")
        check_noise(self.noise, self.data.name)
        if method.own_schedule and (self.optim.drop_epochs or self.optim.schedule != "steps"):
            key = "drop_epochs" if self.optim.drop_epochs else "schedule"
            raise ValueError(f"optim.{key} has no meaning for {self.paper}, whose learning rate is a curve")
        if entry.check is not None:
            entry.check(self)
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved parameters: the identity of a run."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load_params(path: str | Path, **overrides: Any) -> Params[Any]:
    """Read a parameter file and apply overrides, whose keys may be dotted (`**{"noise.rate": 0.2}`).

    Raises NlkitError for a missing or unreadable file, an unknown key, a wrong type or an impossible value.
    """
    return make_params(read_tree(as_path(path, "load_params")), overrides, source=str(path))


def make_params(content: Mapping[str, Any], overrides: Mapping[str, Any], source: str) -> Params[Any]:
    """Resolve nested keys and dotted overrides to Params; `source` names the origin in an error message."""
    try:
        merged: dict[str, Any] = json.loads(json.dumps(resolve_base(content, source), default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise NlkitError(f"{source}: not a tree of keys and plain values ({error})") from None
    try:
        for key, value in overrides.items():
            _assign(merged, key, value, source)
        section = _method_section(merged.get("method"))
        return Params[section].model_validate_json(json.dumps(merged, default=str))  # type: ignore[valid-type]
    except RecursionError:
        raise NlkitError(f"{source}: keys or lists lie too deep in one another") from None
    except ValidationError as error:
        raise NlkitError(f"{source}: {first_problem(error)}") from None
    except (NlkitError, ValueError) as error:
        raise NlkitError(f"{source}: {error}") from None


def _method_section(method: Any) -> type[registry.MethodParams]:
    """The type of the section `method`, which its key `name` tells."""
    if not isinstance(method, Mapping):
        return registry.MethodParams  # a mistake, of which the validation tells
    if "name" not in method:
        raise NlkitError("key 'method.name' is missing")
    return registry.find(str(method["name"])).params


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


def first_problem(error: ValidationError) -> str:
    """What is wrong first, in one line that names the key and its value."""
    first = error.errors(include_url=False)[0]
    forms = {"strong", "contrast_strong", "encoder", "noise", "data", "views", "model"}  # the kind follows these
    key = ".".join(str(part) for before, part in itertools.pairwise(("", *first["loc"])) if before not in forms)
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):  # of what tells the other keys of a section
        context = first["ctx"]
        key = f"{key}.{context['discriminator'].strip(chr(39))}"
        if "tag" in context:
            return f"key '{key}' is '{context['tag']}': expected one of {context['expected_tags']}"
        return f"key '{key}' is missing"
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}' (value {first['input']!r}); remove it or correct its spelling"
    if first["type"] == "missing":
        return f"key '{key}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"key '{key}' is {first['input']!r}: {message}" if key else message
