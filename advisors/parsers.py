"""A JSON parser that refuses what others guess at: duplicate keys, NaN, deep nesting, stray bytes."""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

MAX_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 20
MAX_DIGITS = 60
SHOWN_CHARACTERS = 80


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ParseError(f"the key {twice[:SHOWN_CHARACTERS]!a} stands twice in one object")
    return found


def _number(text: str) -> Decimal:
    if len(text) > MAX_DIGITS:
        raise ParseError(f"a number of more than {MAX_DIGITS} characters")
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ParseError("not a number") from error
    # Written out, 1e999999999 is a text of a gigabyte: nobody further down shall have to think of it.
    if abs(value.adjusted()) > MAX_DIGITS:
        raise ParseError("a number with an exponent beyond all reason")
    return value


def _refuse_constant(text: str) -> None:
    raise ParseError(f"{text} is not a number")


def _refuse_hidden(value: Any, depth: int = 0) -> None:
    """What is nested too deep, and NUL and lone surrogates, which Postgres refuses later and less clearly."""
    if depth > MAX_DEPTH:
        raise ParseError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ParseError("a text holds a character that cannot be stored")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _refuse_hidden(name, depth)
            _refuse_hidden(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _refuse_hidden(inner, depth + 1)


class StrictJSONParser(BaseParser):
    """application/json in UTF-8; numbers become Decimal, so that nothing is rounded on the way in."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ParseError(f"more than {MAX_BYTES} bytes")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ParseError(f"not UTF-8 at byte {error.start}") from error
        try:
            found = json.loads(
                text,
                object_pairs_hook=_object,
                parse_float=_number,
                parse_int=_number,
                parse_constant=_refuse_constant,
            )
        except json.JSONDecodeError as error:
            raise ParseError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
        except RecursionError as error:
            raise ParseError(f"nested more than {MAX_DEPTH} deep") from error
        _refuse_hidden(found)
        return found
