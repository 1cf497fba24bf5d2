"""One cell of a file or form: text in, a value out, or a sentence that says what is wrong with it."""

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from advisors.exports import FORMULA_SIGNS

MAX_DECIMALS, MAX_INTEGER_DIGITS = 18, 20
LIMIT = Decimal(10) ** 18
MAX_LEVERAGE = Decimal(1000)
# What a spreadsheet can hold in a cell; more than that came from elsewhere or from an accident.
MAX_CELL = 32_767
# No script stacks this many marks on one letter; more of them is text made to overrun its neighbours.
MAX_MARKS = 4

PLAIN_DECIMAL = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?")
COMMA_DECIMAL = re.compile(r"-?[0-9]+,[0-9]+")
CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
OTHER_LINE = re.compile(r"[\t\r\n]")
# What advisors.exports.inert() puts before whatever could begin a formula.
EXPORTED_APOSTROPHE = re.compile(rf"(^|[;,|])'(?=[\s\"']*[{FORMULA_SIGNS}])")
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
    r"(Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?",
    re.IGNORECASE,
)
MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
DATE_LIKE = re.compile(
    rf"[0-9]{{1,4}}[-./ ]?({MONTHS})[a-z]*|({MONTHS})[a-z]*[-./ ]?[0-9]{{1,4}}|[0-9-]{{8,10}}(T[0-9:.]+)?",
    re.I,
)
# In this order: the first that fits says what happened to the number on its way here.
DAMAGE = (
    (
        re.compile(r"#[A-Z/0?!]+[!?]?|#+", re.I),
        "is a spreadsheet's error value: repair the cell it came from",
    ),
    (re.compile(r"=.*", re.S), "is a formula: paste its value instead"),
    (re.compile(r"[+-]?s?nan[0-9]*|[+-]?inf(inity)?", re.I), "is not a number"),
    (
        re.compile(r"[+-]?[0-9.]+e[+-]?[0-9]+", re.I),
        "is in exponent form, as Excel shortens long numbers: format the column as Text and export again",
    ),
    (
        re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.*"),
        "is a date: a spreadsheet took the number for one; format the column as Number or Text",
    ),
    (re.compile(r"\+[0-9.]+"), "has a plus sign: leave it out"),
    (re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?"), "has commas in it: write 45000, not 45,000"),
    (re.compile(r"-?[0-9]{1,3}(\.[0-9]{3})*,[0-9]+"), "has a decimal comma: write 1234.56, not 1.234,56"),
    (
        re.compile(r"-?[0-9][0-9\s'’]*(\.[0-9]+)?"),
        "has thousands separators: leave out spaces and apostrophes",
    ),
    (re.compile(r"-?\.[0-9]+|-?[0-9]+\."), "has no digit on one side of the point: write 0.5"),
    (re.compile(r"-?[0-9_]+(\.[0-9_]+)?"), "has underscores: write digits and one point"),
    (re.compile(r"-?\d+(\.\d+)?"), "has digits of another script: write 0 to 9"),
)


class CellError(ValueError):
    """What is wrong with the text, as a sentence for the person who wrote it."""


class Number(str):
    """The text of a spreadsheet's number cell: its point is a point, whatever the file's decimal mark."""

    __slots__ = ()


class Spoilt(str):
    """In place of a cell that cannot be read: the sentence that says why."""

    __slots__ = ()


def shown(text: str) -> str:
    """The text as a message quotes it: short, and with nothing in it that acts on a terminal."""
    visible = "".join(letter if letter.isprintable() else "�" for letter in text[:40])
    return f"'{visible}{'…' if len(text) > 40 else ''}'"


def _explain_number(text: str) -> str:
    for pattern, explanation in DAMAGE:
        if pattern.fullmatch(text):
            return explanation
    return "is not a plain number such as 1234.56"


def parse_decimal(text: str) -> Decimal:
    """ASCII digits, one point, a leading minus; nothing is ever rounded, guessed or evaluated."""
    text = text.strip(" ")
    match = PLAIN_DECIMAL.fullmatch(text)
    if match is None:
        raise CellError(f"{shown(text)} {_explain_number(text)}.")
    integer, decimals = match[1], match[2] or ""
    if len(integer) > MAX_INTEGER_DIGITS or len(decimals) > MAX_DECIMALS:
        raise CellError(
            f"{shown(text)} exceeds the precision kept: {MAX_INTEGER_DIGITS} digits before the point, "
            f"{MAX_DECIMALS} after it."
        )
    value = Decimal(text)
    return value if value else Decimal(0)  # -0 is 0


def parse_signed(text: str) -> Decimal:
    value = parse_decimal(text)
    if abs(value) >= LIMIT:
        raise CellError(f"{shown(text.strip(' '))} is too large: it must be below 10^18.")
    return value


def with_point(text: str, decimal_mark: str) -> str:
    """The number as parse_decimal() takes it; under a decimal comma a point can only be a thousands separator."""
    if decimal_mark == "." or isinstance(text, Number):
        return text
    trimmed = text.strip(" ")
    if COMMA_DECIMAL.fullmatch(trimmed):
        return trimmed.replace(",", ".")
    if "," in trimmed or ("." in trimmed and PLAIN_DECIMAL.fullmatch(trimmed)):
        raise CellError(
            f"{shown(trimmed)} is no number with a decimal comma: write 1234,56, without thousands separators."
        )
    return text


def parse_positive(text: str) -> Decimal:
    value = parse_decimal(text)
    if value <= 0:
        raise CellError(f"{shown(text.strip(' '))} must be above zero.")
    if value >= LIMIT:
        raise CellError(f"{shown(text.strip(' '))} is too large: it must be below 10^18.")
    return value


def parse_not_negative(text: str) -> Decimal:
    value = parse_decimal(text)
    return value if value == 0 else parse_positive(text)


def parse_leverage(text: str) -> Decimal:
    value = parse_positive(text)
    if value > MAX_LEVERAGE:
        raise CellError(f"{shown(text.strip(' '))} is no leverage: at most {MAX_LEVERAGE}.")
    return value


def _check_characters(text: str) -> None:
    if text.isascii() and text.isprintable():
        return
    marks = 0
    for letter in text:
        category = unicodedata.category(letter)
        # Control, direction-changing, zero-width and private characters, half pairs, line separators.
        if category in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}:
            raise CellError(f"Contains the character U+{ord(letter):04X}, which cannot be shown: remove it.")
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks > MAX_MARKS:
            raise CellError("Has too many accents on one letter.")


def parse_text(text: str, limit: int) -> str:
    """One line of text in normal form, trimmed. What looks like a formula is text and stays as it is."""
    text = unicodedata.normalize("NFC", text.strip(" "))
    _check_characters(text)
    if len(text) > limit:
        raise CellError(f"Is longer than {limit} characters.")
    return text


def parse_moment(text: str) -> datetime:
    """ISO 8601 with an offset, as UTC. Without an offset nobody knows when it was."""
    text = text.strip(" ")
    match = MOMENT.fullmatch(text)
    if match is None:
        raise CellError(f"{shown(text)} is not a date and time such as 2026-11-02T09:30:00Z.")
    if match[1] is None:
        raise CellError(
            f"{shown(text)} has no offset: write 2026-11-02T09:30:00Z or 2026-11-02T10:30:00+01:00."
        )
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise CellError(f"{shown(text)} is not a date and time such as 2026-11-02T09:30:00Z.") from error
    if moment.year < 2000:
        raise CellError(f"{shown(text)} is before the year 2000.")
    return moment


def parse_utc_moment(text: str) -> datetime:
    """For a field that is labelled UTC: without an offset UTC is meant."""
    match = MOMENT.fullmatch(text.strip(" "))
    has_offset = match is None or match[1] is not None
    return parse_moment(text if has_offset else f"{text.strip(' ')}Z")


@lru_cache(maxsize=1)
def _zone_names() -> set[str]:
    return available_timezones()


def find_zone(name: str) -> ZoneInfo | None:
    """The time zone of that IANA name; None for the empty name. Raises CellError for any other text."""
    if not name:
        return None
    if name not in _zone_names():
        raise CellError(f"{shown(name)} is no time zone such as Europe/Zurich.")
    return ZoneInfo(name)


def with_offset(text: str, zone: ZoneInfo | None) -> str:
    """The moment as parse_moment() takes it: without an offset it is the zone's local time, if that was once."""
    match = MOMENT.fullmatch(text.strip(" "))
    if zone is None or match is None or match[1] is not None:
        return text
    try:
        local = datetime.fromisoformat(text.strip(" ").upper())
    except ValueError:
        return text
    if not 2000 <= local.year < 9999:
        return f"{text.strip(' ')}Z"
    early, late = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    if early.utcoffset() == late.utcoffset():
        return early.isoformat()
    came_back = early.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local
    fate = "was twice, as clocks went back" if came_back else "never was, as clocks went forward"
    raise CellError(f"{shown(text.strip(' '))} {fate} in {zone.key}: write it with its offset.")


def parse_uuid(text: str) -> UUID:
    text = text.strip(" ")
    if not CANONICAL_UUID.fullmatch(text):
        raise CellError(f"{shown(text)} is no id such as 0190a3f2-6c1e-7d2b-9a50-3f1c2b4d5e6f.")
    return UUID(text)


def parse_place(text: str) -> int:
    """A place in the ledger: a whole number from 1."""
    text = text.strip(" ")
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text):
        raise CellError(f"{shown(text)} is no place in the ledger: a whole number from 1.")
    return int(text)


def active(text: str) -> str:
    """The text that advisors.exports.inert() made inert; texts with tabs or line ends are in nobody's book."""
    return text if "'" not in text or OTHER_LINE.search(text) else EXPORTED_APOSTROPHE.sub(r"\1", text)


def parse_side(text: str) -> str:
    side = text.strip(" ").lower()
    if side not in {"long", "short"}:
        raise CellError(f"{shown(text.strip(' '))} is neither long nor short.")
    return side


def plain(value: Decimal) -> str:
    """A decimal without padding or exponent. Not normalize(), which rounds to the context's precision."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def name_key(text: str) -> str:
    """What makes two names the same to a reader: case, width and spacing do not."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def looks_like_date(text: str) -> bool:
    """Spreadsheets turn MAR1 and the like into dates."""
    return DATE_LIKE.fullmatch(text.strip()) is not None
