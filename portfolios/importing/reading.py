"""How a file is read: which of its columns is which of ours, in which zone its times and with which decimal mark."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from portfolios.importing.cells import CellError, find_zone, with_offset, with_point
from portfolios.importing.columns import (
    AMBIGUOUS,
    AMBIGUOUS_HINT,
    CLIENTS,
    COLUMNS_BY_KIND,
    EVENTS,
    OTHER_NAMES,
    POSITIONS,
    ColumnRule,
)
from portfolios.importing.table import Problems, column_name

DECIMAL_MARKS = (".", ",")
REMEMBERED_TEXTS = 4_096
ALIKE = 0.8
# Columns that together are in no file but our own exports.
OWN_EXPORTS = {
    POSITIONS: {
        "position_id",
        "external_id",
        "isolated_wallet",
        "leverage_set",
        "last_known_state",
        "computed_at",
    },
    EVENTS: {"seq", "position_id", "event", "effective_at", "recorded_at", "amount_asset"},
}
# There client is the client's name, and mark_price the latest mark, which the wallet has nothing to do with.
OWN_EXPORT_NAMES = {
    POSITIONS: {"client": "client_reference", "leverage": "leverage_set", "mark_price": ""},
    EVENTS: {"client": "client_reference"},
}
# What identifies the position of an event, unless position_id does.
POSITION_KEY = ("client", "venue", "account", "external_id")


# What may be said once for all files of one kind: facts of the market. Everything else is about one client's book.
SHARED_CONSTANTS = {"venue", "symbol", "side", "event"}


class BadReading(ValueError):
    """What was stored or sent is no reading."""


@dataclass(frozen=True, slots=True)
class Reading:
    """mapping: our column -> the file's; constants: our column -> what every line has; time_zone "": offsets needed."""

    kind: str
    mapping: dict[str, str]
    constants: dict[str, str] = field(default_factory=dict)
    time_zone: str = ""
    decimal_mark: str = "."

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: object) -> "Reading":
        if not isinstance(stored, dict):
            raise BadReading("A reading is an object.")
        texts = [stored.get("kind"), stored.get("time_zone", ""), stored.get("decimal_mark", ".")]
        columns = [stored.get("mapping"), stored.get("constants", {})]
        for pairs in columns:
            texts += [*pairs, *pairs.values()] if isinstance(pairs, dict) else [None]
        if not all(isinstance(text, str) for text in texts):
            raise BadReading("A reading consists of texts.")
        return cls(texts[0], dict(columns[0]), dict(columns[1]), texts[1], texts[2])


def shared_reading(reading: Reading) -> Reading:
    """What of it goes for the files of every client."""
    kept = {ours: text for ours, text in reading.constants.items() if ours in SHARED_CONSTANTS}
    return replace(reading, constants=kept)


def says_enough(kind: str, mapping: Mapping[str, object]) -> bool:
    """Whether what is mapped so, without a client's own values, is all that a file of the kind needs."""
    given = {ours for ours, theirs in mapping.items() if isinstance(theirs, str) or ours in SHARED_CONSTANTS}
    has_wallet = kind != POSITIONS or bool(given & {"isolated_wallet", "isolated_margin_incl_upnl"})
    return has_wallet and given.issuperset(_needed(kind, given))


def column_of(reading: Reading, name: str) -> str:
    """The file's name for a column of ours, for whoever has to say where something is wrong."""
    return reading.mapping.get(name, name)


def is_own_export(header: Sequence[str]) -> bool:
    names = set(map(column_name, header))
    return any(columns <= names for columns in OWN_EXPORTS.values())


def suggest(header: Sequence[str]) -> Reading | None:
    """The reading of a file in our own format or of our own export; None where somebody has to say."""
    names = {column_name(name): name for name in header}
    kind = _kind_of(set(names))
    own = is_own_export(header)
    mapping = {
        name: names[name] for name in COLUMNS_BY_KIND[kind] if name in names and (own or name != "seq")
    }
    for ours, theirs in OWN_EXPORT_NAMES[kind].items() if own else ():
        mapping.pop(ours, None)
        if theirs in names:
            mapping[ours] = names[theirs]
    reading = Reading(kind=kind, mapping=mapping)
    doubtful = not own and _hides_one_of_ours(header, reading)
    return None if doubtful or check_reading(header, reading).count else reading


def _hides_one_of_ours(header: Sequence[str], reading: Reading) -> bool:
    """Whether a column that nobody reads may be one of ours: no stop_prise or stop_loss is lost without a word."""
    open_names = [name for name in COLUMNS_BY_KIND[reading.kind] if name not in reading.mapping]
    other_names = {other for name in open_names for other in OTHER_NAMES.get(name, ())}
    ignored = map(column_name, ignored_columns(header, reading))
    return any(name in other_names or get_close_matches(name, open_names, cutoff=ALIKE) for name in ignored)


def _kind_of(names: set[str]) -> str:
    for kind, columns in OWN_EXPORTS.items():
        if columns <= names:
            return kind
    if {"event", "effective_at"} <= names:
        return EVENTS
    return CLIENTS if {"reference", "name"} <= names else POSITIONS


def guess(header: Sequence[str], kind: str) -> dict[str, str]:
    """What a file's columns probably are, for somebody to confirm; never a column whose name is ambiguous."""
    names = {column_name(name): name for name in header}
    guessed: dict[str, str] = {}
    for ours in COLUMNS_BY_KIND[kind]:
        candidates = (ours, *OTHER_NAMES.get(ours, ()))
        found = next((names[name] for name in candidates if name in names), None)
        if found is not None and found not in guessed.values() and ours != "seq":
            guessed[ours] = found
    return guessed


def ignored_columns(header: Sequence[str], reading: Reading) -> tuple[str, ...]:
    """The file's columns that nobody reads."""
    read = {column_name(name) for name in reading.mapping.values()}
    return tuple(name for name in header if column_name(name) not in read)


def check_reading(header: Sequence[str], reading: Reading, line: int = 0) -> Problems:
    """Everything that is wrong with reading a file of that header so; line is the header's."""
    problems = Problems()
    columns = COLUMNS_BY_KIND.get(reading.kind)
    if columns is None:
        problems.add(line, "", f"Files are of {', '.join(COLUMNS_BY_KIND)}.")
        return problems
    _check_manner(reading, line, problems)
    if problems.count:
        return problems
    _check_mapping(header, reading, line, problems)
    _check_constants(reading, columns, line, problems)
    given = reading.mapping.keys() | reading.constants.keys()
    for name in _needed(reading.kind, given):
        if name not in given:
            problems.add(line, name, "The column is missing.")
    if reading.kind == POSITIONS:
        _check_wallet_columns(header, given, line, problems)
    return problems


def _needed(kind: str, given: Set[str]) -> list[str]:
    """The columns that every file has, and those that say which position is meant unless position_id does."""
    needed = {name for name, rule in COLUMNS_BY_KIND[kind].items() if rule.in_every_file}
    if kind != CLIENTS and "position_id" not in given:
        needed.update(POSITION_KEY)
    return [name for name in COLUMNS_BY_KIND[kind] if name in needed]


def _check_manner(reading: Reading, line: int, problems: Problems) -> None:
    if reading.decimal_mark not in DECIMAL_MARKS:
        problems.add(line, "", "The decimal mark is a point or a comma.")
    try:
        find_zone(reading.time_zone)
    except CellError as error:
        problems.add(line, "", str(error))


def _check_mapping(header: Sequence[str], reading: Reading, line: int, problems: Problems) -> None:
    names = set(map(column_name, header))
    columns = COLUMNS_BY_KIND[reading.kind]
    for ours, theirs in reading.mapping.items():
        if ours not in columns:
            problems.add(line, theirs[:40], f"There is no column {ours[:40]} to read it as.")
        elif column_name(theirs) not in names:
            problems.add(line, theirs[:40], "The file has no such column.")
        elif ours in ("isolated_wallet", "isolated_margin_incl_upnl") and column_name(theirs) in AMBIGUOUS:
            problems.add(line, theirs, f"The column {theirs} {AMBIGUOUS_HINT}")
        elif ours == "seq" and not is_own_export(header):
            problems.add(line, theirs, "Places in the ledger are given by us: only our own export has them.")
        elif ours in reading.constants:
            problems.add(line, theirs, f"{ours} is given twice: by the column and for every line.")


def _check_constants(reading: Reading, columns: dict[str, ColumnRule], line: int, problems: Problems) -> None:
    for ours, text in reading.constants.items():
        if ours not in columns:
            problems.add(line, ours[:40], "There is no such column.")
            continue
        try:
            read_constant(text, columns[ours], reading)
        except CellError as error:
            problems.add(line, ours, f"What is given for every line: {error}")


def _check_wallet_columns(header: Sequence[str], given: Set[str], line: int, problems: Problems) -> None:
    """W is given as it is, or as a margin with unrealised P&L and the mark it was taken at."""
    wallet, margin, mark = (
        name in given for name in ("isolated_wallet", "isolated_margin_incl_upnl", "mark_price")
    )
    if wallet and margin:
        problems.add(line, "isolated_wallet", "Give it or isolated_margin_incl_upnl, not both.")
    elif not wallet and not margin:
        ambiguous = next((name for name in header if column_name(name) in AMBIGUOUS), None)
        if ambiguous is None:
            problems.add(line, "isolated_wallet", "The column is missing.")
        else:
            problems.add(line, ambiguous, f"The column {ambiguous} {AMBIGUOUS_HINT}")
    if margin != mark:
        problems.add(line, "mark_price", "It comes together with isolated_margin_incl_upnl, and only then.")


def reader_of(rule: ColumnRule, reading: Reading) -> Callable[[str], Any]:
    """What makes a value of a cell that is not blank, under the decimal mark and time zone. Raises CellError."""
    parse = rule.parse
    if rule.form == "number" and reading.decimal_mark != ".":
        return lambda text: parse(with_point(text, reading.decimal_mark))
    if rule.form == "moment" and reading.time_zone:
        zone = find_zone(reading.time_zone)
        return lambda text: parse(with_offset(text, zone))
    # The same few names stand in most lines.
    return lru_cache(maxsize=REMEMBERED_TEXTS)(parse) if rule.form == "text" else parse


def read_constant(text: str, rule: ColumnRule, reading: Reading) -> Any:
    if not text.strip():
        raise CellError("Is empty.")
    return reader_of(rule, reading)(text)
