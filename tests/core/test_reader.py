from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.config.reader import MAX_DEPTH, MAX_NODES, TextError, read_node
from outline_lb.config.source import MAX_SIZE, parse_document

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))


def data(text: str) -> Any:
    return parse_document(text.encode()).data


def refusal(text: str) -> tuple[str, tuple[int, int]]:
    with pytest.raises(TextError) as raised:
        read_node(text)
    return str(raised.value), raised.value.place


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-17", -17),
        ("+5", 5),
        ("0x1F", 31),
        ("0o17", 15),
        ("0123", "0123"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, 1e19),
        ("9" * 5000, "9" * 5000),
        ("2026-10-20", "2026-10-20"),
        ("=", "="),
        ("'5'", "5"),
        ('"true"', "true"),
        ("''", ""),
        ('"\\ud83d\\ude00\\u0000"', "\U0001f600\0"),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_scalars_are_those_of_yaml_1_2_without_surprises(text: str, value: object) -> None:
    found = data(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_as_it_was_written() -> None:
    assert data("true: 1\n1: 2\nnull: 3\n'a b': 4") == {"true": 1, "1": 2, "null": 3, "a b": 4}


def test_aliases_and_merge_keys() -> None:
    text = "a: &a {p: 1, q: 2}\nb: *a\nc: {q: 5, <<: *a}\nd: {<<: [{p: 7}, *a], r: 8}\ne: {'<<': 9}"
    assert data(text) == {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 2}, "c": {"p": 1, "q": 5}, "d": {"p": 7, "q": 2, "r": 8}, "e": {"<<": 9}}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\n  \na: 3", (4, 1), "a stands here for the second time; the first is in line 1"),
        ("a: {b: 1, b: 2}", (1, 11), "b stands here for the second time"),
        ("{<<: {}, <<: {}}", (1, 10), "<< stands here for the second time"),
        ("a:\n\tb: 1", (2, 1), "a tab: YAML is indented with spaces"),
        ("a: b: c", (1, 5), "a colon that does not belong here"),
        ("a:\n  b: 1\n c: 2", (3, 2), "check the indentation (it began in line 1)"),
        ("a: [1,\n 2", (2, 3), "a comma or the closing bracket is missing (it began in line 1)"),
        ("a: {b: 1", (1, 9), "a comma or the closing bracket is missing"),
        ("a: 'x", (1, 6), "the quotes are not closed"),
        ('a: "\\q"', (1, 6), "an unknown escape"),
        ('a: "\\ud800"', (1, 4), "half of a surrogate pair"),
        ("a: @x", (1, 4), "this character cannot begin a value"),
        ("a: 1\nb c", (2, 4), "a key without a colon"),
        ("key: - 1", (1, 6), "a list item that does not belong here"),
        ("a: >x", (1, 5), "| and > begin a text of several lines"),
        ("a: *", (1, 5), "& and * begin an anchor and an alias"),
        ("a: {}\n}", (2, 1), "this does not fit what stands above it"),
        ("]", (1, 1), "a value is expected here"),
        ("", (1, 1), "the file is empty"),
        ("# nothing", (1, 1), "the file is empty"),
        ("- 1", (1, 1), "expected a mapping of keys to values, found a list"),
        ("~", (1, 1), "expected a mapping of keys to values, found nothing"),
        ("text", (1, 1), "expected a mapping of keys to values, found a single value"),
        ("a: 1\n---\nb: 2", (2, 1), "a second document begins here"),
        ("a: !!python/object/apply:os.system [ls]", (1, 4), "tags (!...) are not allowed"),
        ("a: !x 1", (1, 4), "tags (!...) are not allowed"),
        ("%YAML 1.1\n---\na: 1", (1, 1), "directives (%...) are not allowed"),
        ("a: *b", (1, 4), "this alias (*) stands for nothing"),
        ("a: &a {b: *a}", (1, 11), "this alias (*) stands for nothing"),
        ("a: {<<: 1}", (1, 9), "<< merges mappings"),
        ("? [a]\n: b", (1, 3), "a key must be a plain text"),
        ('"a\\nb": 1', (1, 1), "a key must be printable"),
        ("k" * 129 + ": 1", (1, 1), "not longer than 128 characters"),
    ],
)
def test_what_is_wrong_and_where_in_our_own_words(text: str, place: tuple[int, int], message: str) -> None:
    found, where = refusal(text)
    assert message in found
    assert where == place


def test_an_escape_beyond_unicode_is_an_error_like_any_other() -> None:
    assert refusal('a: "\\U99999999"')[0] == "this is not valid YAML"


def test_a_bomb_is_counted_before_it_goes_off() -> None:
    assert refusal(BOMB) == (f"more than {MAX_NODES} nodes, aliases expanded: this is no configuration", (5, 10))


def test_depth_is_limited_with_aliases_expanded() -> None:
    def nested(depth: int) -> str:
        return "".join(f"{{a{level}: " for level in range(depth - 1)) + "x" + "}" * (depth - 1)

    assert read_node(nested(MAX_DEPTH)).height == MAX_DEPTH
    assert f"more than {MAX_DEPTH} levels" in refusal(nested(MAX_DEPTH + 1))[0]
    chain = "a0: &a0 [x]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 100))
    assert f"more than {MAX_DEPTH} levels" in refusal(chain)[0]


@pytest.mark.parametrize("unit", ["[", "- ", "!a", "{a: ", "&a ", "? ", "*", "a: ", "%"])
def test_hostile_text_is_refused_quickly(unit: str) -> None:
    began = time.process_time()
    assert refusal(unit * (MAX_SIZE // len(unit)))[0]
    assert time.process_time() - began < 5


def test_the_largest_list_is_read_or_refused_quickly() -> None:
    began = time.process_time()
    assert f"more than {MAX_NODES} nodes" in refusal("a:\n" + "- x\n" * MAX_NODES)[0]
    assert time.process_time() - began < 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18) + 1, 10**18 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc/~ ", max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text("abc", max_size=5), JSON, max_size=4))
def test_json_is_yaml(value: dict[str, Any]) -> None:
    assert data(json.dumps(value)) == value


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab:-?,[]{}#&*!|>'\"%@`<~ \n\t\\x0u1."), max_size=40))
def test_any_text_is_read_or_refused_with_our_error(text: str) -> None:
    with contextlib.suppress(TextError):
        assert isinstance(read_node(text).value, dict)
