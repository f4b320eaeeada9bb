"""Values of the wrong type: Axolotl refuses the whole file for one of them, whatever key it stands under.

The types are those of its schema, and pydantic looks at the values as it does there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model

from lora_explorer.exports.axolotl.published_schema import Schema, published_schema
from lora_explorer.findings import Finding, Fix
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG
from lora_explorer.settings.sentences import sentence_about

_BOUNDS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt", "strict": "strict"}
_LENGTHS = {"minItems": "min_length", "maxItems": "max_length"}
# Which kind of data set an objective reads; all others take rows to learn from.
_DATASETS = {"dpo": "DPODataset", "ipo": "DPODataset", "simpo": "DPODataset", "kto": "KTODataset"}
# A share of all steps; a rule between settings says it with more words.
_SAID_ELSEWHERE = ("warmup_steps",)


def find_wrong_types(values: Mapping[Any, Any]) -> Iterator[Finding]:
    """One error for each key whose value Axolotl's schema does not take."""
    for key, schema in _read_keys(values):
        # Read as on or off, whatever they are, before the schema looks at them.
        problem = None if key in ATTENTION_OF_FLAG else _problem(key, schema, values[key])
        if problem and not (key in _SAID_ELSEWHERE and _is_number(values[key])):
            yield problem


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and float(value) is not None
    except (TypeError, ValueError):
        return False


def as_typed(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Keys that Axolotl reads with the values it has for them, such as a number for a text; wrong ones are left out."""
    typed = {}
    for key, schema in _read_keys(values):
        try:
            value = _adapter(_text(schema)).validate_python(values[key])
        except ValidationError:
            continue
        # Rules look into lists and blocks as they are written.
        typed[key] = values[key] if isinstance(values[key], (list, dict)) else value
    return typed


def takes_null(path: Sequence[str]) -> bool:
    """Whether the value of a key, nested in blocks, may be there and be empty."""
    schema: Schema = {"type": "null"}
    inner = published_schema().read_with(sorted(published_schema().plugins))
    for name in path:
        schema = inner[name]
        blocks = published_schema().blocks_in(schema)
        inner = {key: each for block in blocks for key, each in block["properties"].items()}
    return any(member.get("type") == "null" for member in schema.get("anyOf", (schema,)))


def _read_keys(values: Mapping[Any, Any]) -> Iterator[tuple[str, Schema]]:
    known = published_schema().read_with(values.get("plugins"))
    for key in values:
        if key == "datasets":
            yield key, _datasets(known[key], values.get("rl"))
        elif key in known:
            yield key, known[key]


def _datasets(schema: Schema, objective: Any) -> Schema:
    """Axolotl makes the sets of one kind before its schema sees them."""
    kind = _DATASETS.get(objective, "SFTDataset") if isinstance(objective, str) else "SFTDataset"
    items = {"anyOf": [{"$ref": kind}, {"$ref": "SyntheticDataset"}]} if kind == "SFTDataset" else {"$ref": kind}
    return {**schema, "anyOf": [{"type": "array", "minItems": 1, "items": items}, {"type": "null"}]}


def _problem(key: str, schema: Schema, value: Any) -> Finding | None:
    adapter = _adapter(_text(schema))
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        if value is None:
            return _empty(key, schema)
        message = sentence_about(key, error.errors())
        return Finding(key, "error", message, outcome="rejects", fix=_fix(key, value, adapter))
    return None


def _empty(key: str, schema: Schema) -> Finding | None:
    if "default" not in schema:
        # It is missing then, which is told as such.
        return None
    default = json.dumps(schema["default"]).strip('"')
    message = f"{key} is empty, which Axolotl refuses; without the line it is {default}."
    return Finding(key, "error", message, outcome="rejects", fix=((key, None),))


def _fix(key: str, value: Any, adapter: TypeAdapter[Any]) -> Fix:
    """The same value as a list of one, or as text."""
    if isinstance(value, (list, dict)):
        return ()
    for other in ((value,), str(value)):
        try:
            adapter.validate_python(list(other) if isinstance(other, tuple) else other)
        except ValidationError:
            continue
        return ((key, other),)
    return ()


def _text(schema: Schema) -> str:
    return json.dumps(schema, sort_keys=True)


@lru_cache(maxsize=512)
def _adapter(schema: str) -> TypeAdapter[Any]:
    return TypeAdapter(_type(json.loads(schema)))


def _type(schema: Schema) -> Any:
    """A schema as a type that pydantic knows."""
    if "$ref" in schema:
        return _block(schema["$ref"])
    if "anyOf" in schema:
        return reduce(or_, (_type(member) for member in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return Literal[tuple(schema.get("enum", (schema.get("const"),)))]
    return _BY_NAME[schema["type"]](schema) if "type" in schema else Any


@lru_cache(maxsize=64)
def _block(name: str) -> Any:
    schema = published_schema().blocks[name]
    if "properties" not in schema:
        return _type(schema)
    extra: Literal["forbid", "ignore"] = "forbid" if schema.get("additionalProperties") is False else "ignore"
    required = schema.get("required", ())
    fields: dict[str, Any] = {
        f"field_{place}": (_type(inner), Field(... if key in required else None, alias=key))
        for place, (key, inner) in enumerate(schema["properties"].items())
    }
    # The brackets mark it as a member of a union where an error names its place.
    return create_model(f"{name}[]", __config__=ConfigDict(extra=extra), **fields)


def _bounded(kind: Any, names: Mapping[str, str]) -> Callable[[Schema], Any]:
    def bounded(schema: Schema) -> Any:
        bounds: dict[str, Any] = {names[name]: bound for name, bound in schema.items() if name in names}
        return Annotated[kind(schema), Field(**bounds)] if bounds else kind(schema)

    return bounded


def _list(schema: Schema) -> Any:
    if "prefixItems" in schema:
        return tuple[tuple(_type(item) for item in schema["prefixItems"])]  # type: ignore[misc]
    return list[_type(schema.get("items", {}))]  # type: ignore[misc]


def _mapping(schema: Schema) -> Any:
    inner = schema.get("additionalProperties", True)
    names = _type(schema["propertyNames"]) if "propertyNames" in schema else str
    return dict[names, Any if inner is True else _type(inner)]  # type: ignore[valid-type,misc]


_BY_NAME: Mapping[str, Callable[[Schema], Any]] = {
    "integer": _bounded(lambda schema: int, _BOUNDS),
    "number": _bounded(lambda schema: float, _BOUNDS),
    "boolean": lambda schema: bool,
    "string": _bounded(lambda schema: str, {"pattern": "pattern"}),
    "null": lambda schema: None,
    "array": _bounded(_list, _LENGTHS),
    "object": _mapping,
}
