"""What a schema found wrong, in our own words. jsonschema's own messages print values, and values may be secrets: here, none is printed."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

Path = tuple[str | int, ...]
Error: TypeAlias = Any
"""jsonschema's ValidationError, whose fields are typed as possibly unset."""
Lookup = Callable[[Any], Mapping[str, Any]]
"""Returns the schema that a schema refers to, or itself."""

TITLES: Final = {
    "x-secret": "a secret: text, {env: NAME} or {file: PATH}",
    "x-kind": "a type, or a mapping with a type and its options",
}
"""What our own keywords want, whatever else a plugin's schema says there."""

_NOUNS: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def explain(error: Error, lookup: Lookup) -> Iterator[tuple[Path, str]]:
    """Return what is wrong and where; one error of jsonschema may be several of ours.

    :param error: what the validator found
    :param lookup: follows references
    """
    path = tuple(error.absolute_path)
    if error.validator in ("anyOf", "oneOf") and error.context:
        yield from _explain_choice(error, lookup)
    elif error.validator == "required":
        for key in (key for key in error.validator_value if key not in error.instance):
            yield path, f"{key} is missing{_hint(error.schema, key, lookup)}"
    elif error.validator == "additionalProperties" and _may_be_secret(error):
        yield path, f"expected {expected(error.schema)}"
    elif error.validator == "additionalProperties" and error.validator_value is False:
        yield from (((*path, key), _unknown(key, error)) for key in _extra(error))
    elif "propertyNames" in error.relative_schema_path:
        yield (*path, str(error.instance)), f"as a key, expected {expected(error.schema)}"
    else:
        words = _WORDS.get(str(error.validator), _misfit)
        yield path, words(error)


def expected(schema: Mapping[str, Any]) -> str:
    """Return what a schema wants, as the end of a sentence."""
    for keyword, title in TITLES.items():
        if keyword in schema:
            return title
    if "title" in schema:
        examples = schema.get("examples", ())
        return str(schema["title"]) + (f" such as {examples[0]}" if examples else "")
    if "const" in schema:
        return _shown(schema["const"])
    if "enum" in schema:
        return _listed(schema["enum"])
    types = schema.get("type", ())
    return _joined([_NOUNS[name] for name in ([types] if isinstance(types, str) else types)]) or "something else"


def _explain_choice(error: Error, lookup: Lookup) -> Iterator[tuple[Path, str]]:
    """Explain the one branch that was meant: that whose type fits; else say what all of them want."""
    branches: dict[object, list[Error]] = {}
    for cause in error.context or ():
        branches.setdefault(cause.schema_path[0], []).append(cause)
    meant = [causes for causes in branches.values() if not any(cause.validator == "type" and not cause.relative_path for cause in causes)]
    if len(meant) == 1:
        for cause in meant[0]:
            yield from explain(cause, lookup)
    else:
        wanted = _joined([expected(lookup(branch)) for branch in error.validator_value])
        yield tuple(error.absolute_path), f"expected {wanted}, found {_found(error.instance)}"


def _hint(schema: Any, key: str, lookup: Lookup) -> str:
    wanted = expected(lookup(schema.get("properties", {}).get(key, {})))
    return "" if wanted == "something else" else f": expected {wanted}"


def _extra(error: Error) -> list[str]:
    patterns = [re.compile(pattern) for pattern in error.schema.get("patternProperties", {})]
    return [key for key in error.instance if key not in error.schema.get("properties", {}) and not any(pattern.search(key) for pattern in patterns)]


def _may_be_secret(error: Error) -> bool:
    """Return whether a key may be the secret itself, as in ``{hunter2}``."""
    return error.schema.get("title") == TITLES["x-secret"] and not all(did_you_mean(key, error.schema["properties"]) for key in _extra(error))


def _unknown(key: str, error: Error) -> str:
    known = sorted(error.schema.get("properties", {}))
    if close := did_you_mean(key, known):
        return f"unknown key {key}{close}"
    return f"unknown key {key}: known here are {', '.join(known)}" if known else f"unknown key {key}: nothing can be set here"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a remark about a known name that is similar, or ""."""
    return _closest(name, tuple(known))


@functools.lru_cache(1000)
def _closest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _type(error: Error) -> str:
    scalar = isinstance(error.instance, int | float)
    hint = " (put it in quotes)" if scalar and "string" in error.schema["type"] and "pattern" not in error.schema else ""
    return f"expected {expected(error.schema)}, found {_found(error.instance)}{hint}"


def _found(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return "a number with a point"
    kinds: Sequence[tuple[type, str]] = ((bool, "boolean"), (str, "string"), (int, "number"), (list, "array"))
    return next((_NOUNS[name] for kind, name in kinds if isinstance(value, kind)), _NOUNS["object"])


def _enum(error: Error) -> str:
    close = did_you_mean(error.instance, map(str, error.validator_value)) if isinstance(error.instance, str) else ""
    return f"expected {_listed(error.validator_value)}{close}"


def _pattern(error: Error) -> str:
    return f"expected {expected(error.schema)}" if "title" in error.schema else f"expected text of the form {error.validator_value}"


def _misfit(error: Error) -> str:
    return f"this does not fit the schema ({error.validator})"


def _count(least: str, noun: str) -> Callable[[Error], str]:
    def words(error: Error) -> str:
        limit = error.validator_value
        return "must not be empty" if (least, limit) == ("at least", 1) else f"expected {least} {limit} {noun}{'' if limit == 1 else 's'}"

    return words


def _limit(words: str) -> Callable[[Error], str]:
    return lambda error: f"expected a number {words} {error.validator_value}"


_WORDS: Final[Mapping[str, Callable[[Error], str]]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda error: f"expected {_shown(error.validator_value)}",
    "pattern": _pattern,
    "minimum": _limit("of at least"),
    "maximum": _limit("of at most"),
    "exclusiveMinimum": _limit("above"),
    "exclusiveMaximum": _limit("below"),
    "multipleOf": _limit("divisible by"),
    "minLength": _count("at least", "character"),
    "maxLength": _count("at most", "character"),
    "minItems": _count("at least", "item"),
    "maxItems": _count("at most", "item"),
    "minProperties": _count("at least", "key"),
    "maxProperties": _count("at most", "key"),
    "uniqueItems": lambda _: "the same item stands here twice",
    "dependentRequired": lambda error: f"some keys here need others: {_dependencies(error)}",
}


def _dependencies(error: Error) -> str:
    return "; ".join(f"{key} needs {', '.join(needed)}" for key, needed in error.validator_value.items() if key in error.instance)


def _shown(value: object) -> str:
    return {True: "true", False: "false", None: "nothing"}[value] if value is None or isinstance(value, bool) else str(value)


def _listed(values: Iterable[object]) -> str:
    return _joined([_shown(value) for value in values])


def _joined(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
