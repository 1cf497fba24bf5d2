"""Rows of a vector file: the columns, what the words in them mean, and why a row cannot be read."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from margin.engine.types import INVERSE, LINEAR, LONG, QUANTO, SHORT

NEEDED = ("id", "venue", "contract_type", "expected_quantity_name", "expected_value", "tolerance")
COLUMNS = (
    "id",
    "venue",
    "contract_type",
    "side",
    "entry_price",
    "quantity",
    "contract_size",
    "leverage",
    "isolated_margin",
    "extra_margin",
    "maint_margin_rate",
    "maint_amount",
    "fee_rate",
    "mark_price",
    "expected_quantity_name",
    "expected_value",
    "tolerance",
    "source",
    "notes",
)
MODEL_NEEDED = ("id", "kind", "inputs", "expected_quantity_name", "expected_value", "tolerance")
KINDS = {"": LINEAR, "linear": LINEAR, "inverse": INVERSE, "quanto": QUANTO}
SIDES = {"": LONG, "long": LONG, "short": SHORT, "buy": LONG, "sell": SHORT}
NAN, NEVER = float("nan"), float("inf")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
NEVER_WORDS = frozenset({"inf", "+inf", "infinity", "never"})


class VectorError(ValueError):
    """A vector file, or a row of it, that cannot be read; the message names the column."""


class NotComputed(ValueError):
    """A quantity that is not known, or one for which the row does not say enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What every row has: a name, a number and how near one must come to it."""

    id: str
    quantity_name: str
    expected: float
    tolerance: float
    source: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector(Published):
    """One published number of a venue and the position it belongs to; NaN = not given."""

    venue: str
    kind: int
    side: int
    entry_price: float
    quantity: float
    contract_size: float
    leverage: float
    isolated_margin: float
    extra_margin: float
    rate: float
    amount: float
    fee_rate: float
    mark_price: float

    @property
    def size(self) -> float:
        """Base quantity, or quote notional of an inverse contract."""
        return self.quantity * self.contract_size

    def noted(self, key: str) -> list[str]:
        """Values of the key=value tokens of the notes."""
        tokens = (token.strip().partition("=") for token in self.notes.split(";"))
        return [value.strip() for name, _, value in tokens if name.strip() == key]

    def word(self, key: str) -> str:
        """First word of a token of the notes, empty where there is none."""
        values = self.noted(key)
        return values[0].split()[0].rstrip(",.").lower() if values and values[0] else ""

    def number(self, *keys: str) -> float:
        """Number a token of the notes begins with; the first of the keys that is there, else NaN."""
        for key in keys:
            for value in self.noted(key):
                found = NUMBER.match(value)
                if found is None and f"{key} =" in self.notes:
                    continue  # prose, not a token
                if found is None:
                    raise NotComputed(f"notes: {key} is not a number: {value!r}")
                return float(found[0]) * (0.01 if value[found.end() :].lstrip().startswith("%") else 1.0)
        return NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVector(Published):
    """One published number of an estimator, a probability or a hedge, and its inputs."""

    kind: str
    inputs: Mapping[str, Any]


def is_margin_file(columns: Iterable[str] | None) -> bool:
    """Tell by the header what a vector file holds.

    Parameters  columns : header of the CSV, None if the file is empty
    Returns     True: margin vectors (COLUMNS, of which those in NEEDED must be there); False: MODEL_NEEDED
    Raises      VectorError: neither, naming the first column that is missing
    """
    names = [name or "" for name in columns or ()]
    if not names:
        raise VectorError("the file is empty")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise VectorError("columns must be separated by commas, and the header has none")
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise VectorError(f"column {sorted(doubled)[0]} is there twice")
    is_margin = "kind" not in names and "inputs" not in names
    missing = [name for name in (NEEDED if is_margin else MODEL_NEEDED) if name not in names]
    if missing:
        word = "margin" if is_margin else "volatility"
        raise VectorError(f"not a {word} vector file: column {missing[0]} is missing")
    return is_margin


def read_vector(record: Mapping[str, Any], line: int = 0) -> Vector:
    """One row of a margin vector CSV.

    Parameters  record : mapping with columns of COLUMNS, as text; those not in NEEDED may be missing
                line : for error messages, 0 = none
    Returns     Vector
    Raises      VectorError: a value that is not a finite number, or a word that is not known
    """

    def number(column: str, default: float = NAN) -> float:
        return read_number(record, line, column, default)

    entry, mark = number("entry_price"), number("mark_price")
    return Vector(
        **_read_published(record, line),
        venue=_text(record, "venue").lower(),
        kind=_read_word(record, line, "contract_type", KINDS),
        side=_read_word(record, line, "side", SIDES),
        # A source that values at one price only gives only that one; the figure asked for needs no other.
        entry_price=mark if math.isnan(entry) else entry,
        mark_price=entry if math.isnan(mark) else mark,
        quantity=number("quantity"),
        contract_size=number("contract_size", 1.0),
        leverage=number("leverage"),
        isolated_margin=number("isolated_margin"),
        extra_margin=number("extra_margin", 0.0),
        rate=number("maint_margin_rate"),
        amount=number("maint_amount", 0.0),
        fee_rate=number("fee_rate", 0.0),
    )


def read_model_vector(record: Mapping[str, Any], line: int = 0) -> ModelVector:
    """One row of a volatility vector CSV.

    Parameters  record : mapping with columns of MODEL_NEEDED, as text · line : for error messages, 0 = none
    Returns     ModelVector
    Raises      VectorError: inputs that are not a JSON object, or a value that is not a number
    """
    published = _read_published(record, line)
    text = _text(record, "inputs")
    try:
        inputs = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VectorError(f"{_place(line)}inputs is not JSON: {error}") from None
    if not isinstance(inputs, dict):
        raise VectorError(f"{_place(line)}inputs is not a JSON object: {text[:40]!r}")
    return ModelVector(**published, kind=_text(record, "kind").lower(), inputs=inputs)


def _read_published(record: Mapping[str, Any], line: int) -> dict[str, Any]:
    if record.get(None):  # type: ignore[call-overload]  # where csv puts cells beyond the header
        raise VectorError(f"{_place(line)}there are more cells than columns")
    expected = read_number(record, line, "expected_value")
    tolerance = read_number(record, line, "tolerance")
    for column, value in (("expected_value", expected), ("tolerance", tolerance)):
        if math.isnan(value):
            raise VectorError(f"{_place(line)}{column} is blank")
    if not 0 <= tolerance < NEVER:
        raise VectorError(f"{_place(line)}tolerance is below zero: {tolerance}")
    return {
        "id": _text(record, "id"),
        "quantity_name": _text(record, "expected_quantity_name"),
        "expected": expected,
        "tolerance": tolerance,
        "source": _text(record, "source"),
        "notes": _text(record, "notes"),
    }


def read_number(record: Mapping[str, Any], line: int, column: str, default: float = NAN) -> float:
    """A cell as a number.

    Parameters  record, line : as read_vector · column : its name · default : for a blank or missing cell
    Returns     float; infinite only for expected_value, which may be "never"
    Raises      VectorError: text that is not a finite number
    """
    text = _text(record, column)
    if not text:
        return default
    if column == "expected_value" and text.lower() in NEVER_WORDS:
        return NEVER
    value = float(text) if NUMBER.fullmatch(text) else NAN
    if not math.isfinite(value):
        raise VectorError(f"{_place(line)}{column} is not a number: {text!r}")
    return value


def exact(value: float) -> Decimal:
    """A number as the file wrote it: the shortest decimal that means the same float."""
    return Decimal(repr(float(value)))


def _read_word(record: Mapping[str, Any], line: int, column: str, known: Mapping[str, int]) -> int:
    text = _text(record, column).lower()
    if text not in known:
        raise VectorError(f"{_place(line)}{column} is unknown: {text!r}")
    return known[text]


def _text(record: Mapping[str, Any], column: str) -> str:
    return str(record.get(column) or "").strip()


def _place(line: int) -> str:
    return f"row {line}: " if line else ""
