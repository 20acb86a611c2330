"""Queries: one mapping, from a YAML or JSON file or a workflow's configuration, becomes one `Query`.

Whatever cannot be asked is refused here, before any request: in one line that names the field, what
was given, what is allowed and the nearest spelling. What is accepted is canonical, so that equal
questions are equal queries with equal digests, however they were typed. The archive's own model says
what its criteria are and how they read; the common keys are the same for every archive.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Hashable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import AliasChoices, ValidationError

from skystage import aoi, archives, filters
from skystage.criteria import BUILT_IN, UNIT, moment
from skystage.errors import QueryError
from skystage.model import Json, Query, canonical, iso

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from skystage.archives import Archive

COMMON = (
    *("archive", "area", "start", "end", "labels", "filter", "select", "assets", "with", "offline"),
    *("allow_missing", "allow_incomplete", "requester_pays", "preset"),
)
"""The keys that mean the same for every archive; all others are the archive's criteria."""
_MEANT = {
    "aoi": "area",
    "bbox": "area",
    "intersectsWith": "area",
    "intersects_with": "area",
    "stack_from_id": "reference",
    "wkt": "area",
    "orbits": "with",
    "dem": "with",
}
"""What other tools call it."""
_OF_COMPANIONS = ("orbit", "dem", "geoid")
"""Keys of assets that a query's ``with`` brings along."""
_LONGEST = 160
"""Characters of a list of allowed values that still fit into one readable line."""


def read(path: Path | str) -> Query:
    """Read a query file: YAML, or JSON by its suffix. Files that it names are relative to it.

    Raises
    ------
    QueryError
        If the file cannot be read, is no mapping, says a key twice, or asks what cannot be asked.
    """
    path = Path(path)
    return parse(_mapping_in(path, "query"), base=path.parent)


def parse(mapping: Mapping[str, Any], *, base: Path | None = None) -> Query:
    """Make a query of a mapping with the keys of a query file.

    Parameters
    ----------
    base
        The folder that relative files (of the area, of a preset) start from; default: the working directory.

    Raises
    ------
    QueryError
        In one line: the field, what was given, what is allowed, the nearest spelling.
    """
    given = _with_preset(_said_in(mapping), base)
    name = given.get("archive")
    if not isinstance(name, str):
        what = "missing" if name is None else f"got {name!r}"
        raise QueryError(f"archive: {what}", hint=f"allowed: {', '.join(archives.names())}")
    archive = archives.get(name)
    criteria = _criteria(archive, {key: value for key, value in given.items() if key not in COMMON})
    start = moment(given["start"], name="start") if "start" in given else None
    end = moment(given["end"], name="end", last=True) if "end" in given else None
    if start is not None and end is not None and end < start:
        raise QueryError(f"end: {iso(end)} is before start {iso(start)}", hint="swap them")
    area = None
    if "area" in given:
        area = aoi.parse(given["area"], base=base, body=str(criteria.get("body", "earth")))
    labels = _labels(archive, _mapping("labels", given)) if "labels" in given else {}
    query = Query(
        archive=archive.name,
        criteria=criteria,
        area=area,
        start=start,
        end=end,
        labels=labels,
        filter=_filter(
            archive, _mapping("filter", given), labels.get("values", ()), has_area=area is not None
        ),
        select=archive.selection(filters.validate_select(_mapping("select", given))),
        assets=_assets(archive, given),
        companions=_companions(archive, _mapping("with", given)),
        offline=_offline(given.get("offline", "drop")),
        allow_missing=_allow_missing(archive, given),
        allow_incomplete=_flag("allow_incomplete", given.get("allow_incomplete", False)),
        requester_pays=_flag("requester_pays", given.get("requester_pays", False)),
    )
    if "online" in archive.properties and query.offline == "drop":
        _check_online(query)
    return query


# --------------------------------------------------------------------------------------------------
# Presets


def _said_in(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A key without a value (`end:` in YAML, null in JSON) is a key left out."""
    return {str(key): value for key, value in mapping.items() if value is not None}


def _with_preset(given: dict[str, Any], base: Path | None) -> dict[str, Any]:
    """The query with what its preset says beside it: of a key that both have, the query's own counts."""
    name = given.pop("preset", None)
    if name is None:
        return given
    preset = _said_in(_mapping_in(_preset(name, base), "preset"))
    if "preset" in preset:
        raise QueryError(f"preset: {name} names another preset", hint="say in it what that one says")
    merged = {**preset, **given}
    for key in ("filter", "with"):
        if isinstance(preset.get(key), Mapping) and isinstance(given.get(key), Mapping):
            merged[key] = {**preset[key], **given[key]}
    return merged


def _preset(name: Any, base: Path | None) -> Path:
    if not isinstance(name, str):
        raise QueryError(f"preset: got {name!r}", hint="allowed: a name, or a YAML or JSON file")
    if name.endswith((".yaml", ".yml", ".json")):
        return (base or Path()) / name
    known = presets()
    _known("preset", name, sorted(known))
    return known[name]


def presets() -> dict[str, Path]:
    """The presets that come along, by name: query files without area and dates."""
    # In a package that was built they lie beside this module.
    built = Path(__file__).parent / "presets"
    folder = built if built.is_dir() else Path(__file__).parents[2] / "config" / "presets"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


# --------------------------------------------------------------------------------------------------
# The archive's criteria


def _criteria(archive: Archive, given: Mapping[str, Any]) -> dict[str, Json]:
    fields = archive.criteria.model_fields
    known = sorted({word for name, field in fields.items() for word in _spellings(name, field)})
    # Of an archive with columns of its own for each mission the archive itself says which there are.
    closed = archive.criteria.model_config.get("extra") != "allow"
    for key, value in given.items():
        if closed and key not in known:
            raise QueryError(
                f"{key}: archive {archive.name!r} has no such key", hint=_nearest_key(archive, key, known)
            )
        if isinstance(value, list | tuple | dict) and not value:
            raise QueryError(
                f"{key}: got an empty {'mapping' if isinstance(value, dict) else 'list'}",
                hint="it would match nothing: leave the key out, or name a value",
            )
    try:
        model = archive.criteria.model_validate(dict(given))
    except ValidationError as error:
        raise _refusal(error) from None
    dumped: dict[str, Json] = model.model_dump(mode="json", exclude_none=True, by_alias=True)
    return dict(sorted(dumped.items()))


def _spellings(name: str, field: FieldInfo) -> Iterable[str]:
    """How a criterion may be spelt in a query."""
    choices = field.validation_alias
    return map(str, choices.choices) if isinstance(choices, AliasChoices) else [field.alias or name]


def _nearest_key(archive: Archive, key: str, known: list[str]) -> str:
    if key in BUILT_IN or key in archive.properties or key == "season":
        return f"it is a filter: write filter: {{{key}: ...}}"
    if key in _MEANT:
        return f"did you mean {_MEANT[key]!r}?"
    if near := difflib.get_close_matches(key, [*COMMON, *known], 1):
        return f"did you mean {near[0]!r}?"
    if near := difflib.get_close_matches(key, [*BUILT_IN, *archive.properties], 1):
        return f"did you mean filter: {{{near[0]}: ...}}?"
    return f"allowed: {_brief(', '.join([*COMMON, *known]))}"


def _refusal(error: ValidationError) -> QueryError:
    """Pydantic's pages of errors as one line on the first field."""
    details = error.errors(include_url=False, include_context=False)
    first = details[0]
    if not first["loc"]:
        return QueryError(_said(first["msg"]))
    field = first["loc"][0]
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return QueryError(f"{field}: missing", hint="the archive cannot be asked without it")
    # A union has an error for each of its alternatives: together they say what is allowed.
    same = [detail for detail in details if detail["loc"][:1] == (field,)]
    got = f"{field}: got {_brief(repr(first['input']))}"
    for detail in same:
        if detail["type"] == "value_error" and not detail["msg"].startswith(_LISTED):
            return QueryError(f"{got}: {_said(detail['msg'])}")
    wanted = " or ".join(dict.fromkeys(_said(_form_of(detail)) for detail in same))
    words = [word.strip() for word in re.split(r"[,'\"]| or |: ", wanted) if word.strip()]
    folded = {word.casefold(): word for word in words}
    near = difflib.get_close_matches(str(first["input"]).casefold(), folded, 1)
    meant = f"; did you mean {folded[near[0]]!r}?" if near else ""
    return QueryError(got, hint=f"allowed: {_brief(wanted)}{meant}")


_LISTED = "Value error, not one of: "
"""How an archive's model begins an error that goes on with all allowed values, comma separated."""


def _form_of(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "model_type":
        return "{min: , max: }"
    if detail["type"] == "missing":
        last = detail["loc"][-1]
        return "more values" if isinstance(last, int) else f"a mapping with {last}"
    return str(detail["msg"]).partition(", unable to parse")[0]


def _said(message: str) -> str:
    for preamble in (_LISTED, "Value error, ", "Input should be "):
        message = message.removeprefix(preamble)
    return _line(message)


# --------------------------------------------------------------------------------------------------
# The common keys


def _labels(archive: Archive, given: Mapping[str, Any]) -> dict[str, Json]:
    for key in given:
        _known("labels", key, ("asset", "values"))
    asset = given.get("asset")
    if not isinstance(asset, str) or not asset:
        raise QueryError(f"labels.asset: got {asset!r}", hint="allowed: the key of an asset")
    if archive.asset_keys is not None:
        _known("labels.asset", asset, archive.asset_keys)
    values = _mapping("values", given)
    if not values:
        raise QueryError(
            "labels.values: missing", hint="names to paths: {incidence_angle: Group.IncidenceAngle}"
        )
    for name, path in values.items():
        field = f"labels.values.{name}"
        if not _NAME.fullmatch(name):
            raise QueryError(f"{field}: is no name", hint="allowed: letters, digits and _")
        if name in BUILT_IN:
            raise QueryError(f"{field}: is a filter of its own", hint="give the value another name")
        if not isinstance(path, str) or not all(path.split(".")):
            raise QueryError(f"{field}: got {path!r}", hint="allowed: a path such as Group.IncidenceAngle")
    return {"asset": asset, "values": dict(sorted(values.items()))}


_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


def _filter(
    archive: Archive, given: Mapping[str, Any], labels: Collection[str], *, has_area: bool
) -> dict[str, Json]:
    ours = {*BUILT_IN, *archive.properties, *(archive.property_names or ()), *labels}
    for key in given:
        if key.endswith(UNIT) and key.removesuffix(UNIT) in labels:
            # It is there when the label has been read: before, nothing would match.
            raise QueryError(
                f"filter.{key}: a unit is no filter", hint="values in two units are an error by themselves"
            )
        if key not in ours and (key in archive.criteria.model_fields or key in COMMON) and key != "season":
            raise QueryError(
                f"filter.{key}: is no filter", hint=f"it is a key of its own: write {key}: beside filter:"
            )
    found = filters.validate(given, archive=archive, labels=labels)
    if "min_coverage" in found and not has_area:
        raise QueryError("filter.min_coverage: the query has no area", hint="give an area, or leave it out")
    return found


def _assets(archive: Archive, given: Mapping[str, Any]) -> tuple[str, ...]:
    found = _keys("assets", given["assets"]) if "assets" in given else ()
    if archive.asset_keys is not None:
        for key in found:
            _known("assets", key, archive.asset_keys)
    return found


def _allow_missing(archive: Archive, given: Mapping[str, Any]) -> tuple[str, ...]:
    found = _keys("allow_missing", given.get("allow_missing", ()))
    if archive.asset_keys is not None:
        for key in found:
            _known("allow_missing", key, [*archive.asset_keys, *_OF_COMPANIONS])
    return found


def _companions(archive: Archive, given: Mapping[str, Any]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in sorted(given.items()):
        _known("with", key, sorted(archive.companions))
        if isinstance(value, Mapping):
            # Without options it is the same as `true`.
            found[key] = _plain(f"with.{key}", value) or True
        elif not isinstance(value, bool):
            raise QueryError(
                f"with.{key}: got {value!r}", hint="allowed: true, false, or a mapping of options"
            )
        elif value:
            found[key] = True
    return found


def _known(field: str, key: str, allowed: Iterable[str]) -> None:
    if not any(fnmatchcase(key, one) for one in allowed):
        folded = {one.casefold(): one for one in allowed}
        near = difflib.get_close_matches(key.casefold(), folded, 1)
        meant = f"; did you mean {folded[near[0]]!r}?" if near else ""
        raise QueryError(f"{field}: got {key!r}", hint=f"allowed: {', '.join(allowed) or 'none'}{meant}")


def _offline(value: Any) -> str:
    if value not in ("drop", "keep"):
        raise QueryError(f"offline: got {value!r}", hint="allowed: drop, keep")
    return str(value)


def _check_online(query: Query) -> None:
    """Refuse to look for what is offline, and to drop it."""
    for field, asked in (("online", query.criteria), ("filter.online", query.filter)):
        if asked.get("online") is False:
            raise QueryError(
                f"{field}: false finds what is offline, and offline: drop (the default) drops all of it",
                hint="say offline: keep as well; skystage cannot order products back",
            )


def _flag(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise QueryError(f"{field}: got {value!r}", hint="allowed: true, false")
    return value


def _keys(field: str, value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item for item in items):
        raise QueryError(f"{field}: got {value!r}", hint="allowed: a key, or a list of keys")
    if isinstance(items, list) and not items:
        raise QueryError(f"{field}: got an empty list", hint="leave the key out, or name a key")
    return tuple(sorted(set(items)))


def _mapping(field: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    value = given.get(field, {})
    if not isinstance(value, Mapping):
        raise QueryError(f"{field}: got {_brief(repr(value))}", hint="allowed: a mapping of names to values")
    return {str(key): item for key, item in value.items()}


def _plain(field: str, value: Mapping[str, Any]) -> Json:
    """The mapping as JSON says it; dates that YAML made stay the text that they were."""
    try:
        return json.loads(canonical(json.loads(json.dumps(value, default=lambda item: item.isoformat()))))
    except (AttributeError, TypeError, ValueError):
        raise QueryError(f"{field}: got {_brief(repr(value))}", hint="allowed: what JSON can say") from None


# --------------------------------------------------------------------------------------------------
# Reading and saying


def _mapping_in(path: Path, kind: str) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise QueryError(f"{path}: {error.strerror}", hint=f"name a {kind} file") from None
    except UnicodeDecodeError:
        raise QueryError(f"{path}: is no text", hint=f"a {kind} file is YAML or JSON in UTF-8") from None
    try:
        if path.suffix.lower() == ".json":
            found = json.loads(text, object_pairs_hook=_once)
        else:
            found = yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from the safe loader
    except (ValueError, yaml.YAMLError) as error:
        raise QueryError(f"{path}: {_line(error)}", hint=f"a {kind} file is YAML or JSON") from None
    if not isinstance(found, Mapping):
        what = "is empty" if found is None else f"holds {_article(found)}"
        raise QueryError(f"{path}: {what}", hint=f"a {kind} file is a mapping, beginning with archive:")
    return found


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which takes the last of two equal keys; ours refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        _once([(key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        return super().construct_mapping(node, deep=deep)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} is there twice")
        found[key] = value
    return found


def _line(message: object) -> str:
    return " ".join(str(message).split())


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _article(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"only {_brief(repr(value))}"
