"""From the bytes of a file to its lines and cells, with the exact place of whatever is wrong."""

import codecs
import csv
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LINE_END = re.compile(r"\r\n|\r|\n")
# Python's csv module gives up on a field at this length; no honest line comes near it.
MAX_LINE = 131_072
LISTED_PROBLEMS = 100


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong with the file: on which line, in which column (empty: the line as a whole)."""

    line: int
    column: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "file"
        return f"{place}, {self.column}: {self.message}" if self.column else f"{place}: {self.message}"


class Problems:
    """All problems are counted; the first hundred are kept."""

    def __init__(self) -> None:
        self.listed: list[Problem] = []
        self.count = 0

    def add(self, line: int, column: str, message: str) -> None:
        self.count += 1
        if not self.full:
            self.listed.append(Problem(line, column, message))

    @property
    def full(self) -> bool:
        """Whether a further message would only be counted, so that nobody needs to compose it."""
        return len(self.listed) >= LISTED_PROBLEMS

    def joined(self, other: "Problems") -> "Problems":
        """Both, by line: each was filled from the top down, so the first hundred of each are enough."""
        both = Problems()
        both.count = self.count + other.count
        both.listed = sorted([*self.listed, *other.listed])[:LISTED_PROBLEMS]
        return both


class FileRefused(ValueError):
    """The file cannot be read as a table at all."""

    def __init__(self, line: int, message: str, column: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(line, column, message)


@dataclass(frozen=True, slots=True)
class Header:
    line: int
    delimiter: str
    names: tuple[str, ...]


def decode(content: bytes, max_bytes: int) -> str:
    """UTF-8 with or without its mark, UTF-16 with it. Anything else is refused at the byte where it shows."""
    if len(content) > max_bytes:
        raise FileRefused(0, f"The file is larger than {max_bytes:,} bytes.")
    mark, encoding = next((pair for pair in BYTE_ORDER_MARKS if content.startswith(pair[0])), (b"", "utf-8"))
    body = content[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line, place = _place_of_byte(body, error.start, encoding)
        raise FileRefused(line, _explain_byte(body[error.start], encoding, place)) from error
    if "\0" in text:
        line = 1 + len(LINE_END.findall(text[: text.index("\0")]))
        hint = (
            " Is it UTF-16 without its byte order mark? Save it as CSV UTF-8." if encoding == "utf-8" else ""
        )
        raise FileRefused(line, f"A NUL character: this is no text.{hint}")
    return text


def _place_of_byte(body: bytes, offset: int, encoding: str) -> tuple[int, int]:
    before = body[:offset].decode(encoding, errors="replace")
    ends = list(LINE_END.finditer(before))
    return 1 + len(ends), 1 + len(before) - (ends[-1].end() if ends else 0)


def _explain_byte(byte: int, encoding: str, place: int) -> str:
    if encoding != "utf-8":
        return f"Broken UTF-16 at character {place}: save it as CSV UTF-8."
    return (
        f"Byte 0x{byte:02X} at character {place} is not UTF-8; the file was probably saved as Windows-1252. "
        "Save it as CSV UTF-8."
    )


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that hold something; LF, CR LF and a lone CR all end one."""
    for number, line in enumerate(LINE_END.split(text), start=1):
        if line.strip(" ,;\t"):
            yield number, line


def split_cells(number: int, line: str, delimiter: str) -> list[str]:
    """The cells of one line. A quoted cell ends on its line, so a stray quote spoils no other line."""
    if len(line) > MAX_LINE:
        raise FileRefused(number, f"The line is longer than {MAX_LINE:,} characters.")
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise FileRefused(
            number, "A quotation mark is not closed on its line, or something follows it."
        ) from error


def column_name(cell: str) -> str:
    return re.sub(r"[\s_-]+", "_", cell.strip().casefold())


def read_header(number: int, line: str, known: Collection[str]) -> Header:
    """The delimiter is the one under which most of the names are known."""
    found = []
    for delimiter in DELIMITERS:
        names = [column_name(cell) for cell in split_cells(number, line, delimiter)]
        while names and not names[-1]:
            names.pop()
        found.append((sum(name in known for name in names), len(names), delimiter, names))
    matches, _, delimiter, names = max(found, key=lambda entry: entry[:2])
    if not matches:
        raise FileRefused(number, f"The first line must name the columns: {', '.join(known)}.")
    return Header(line=number, delimiter=delimiter, names=tuple(names))
