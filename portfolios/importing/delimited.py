"""From the bytes of a text file to its lines and cells, with the exact place of whatever is wrong."""

import codecs
import csv
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from portfolios.importing.cells import Spoilt
from portfolios.importing.table import FileRefused, Limits, Table, column_name, read_header

DELIMITERS = (",", ";", "\t")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LINE_END = re.compile(r"\r\n|\r|\n")
# Python's csv module gives up on a field at this length; no honest line comes near it.
MAX_LINE = 131_072
# So many lines below the header say which delimiter splits them as it splits the header.
SAMPLE_LINES = 10


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


def with_one_line_end(text: str) -> str:
    """LF, CR LF and a lone CR all end a line."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that hold something, of a text whose lines end in LF."""
    number = start = 0
    while start <= len(text):
        end = text.find("\n", start)
        if end < 0:
            end = len(text)
        number += 1
        line = text[start:end]
        if line.strip(" ,;\t"):
            yield number, line
        start = end + 1


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


@dataclass(frozen=True, slots=True)
class DelimitedRows:
    """The rows below the header, split anew each time they are asked for."""

    text: str = field(repr=False)
    header_line: int
    delimiter: str

    def __iter__(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        for number, line in numbered_lines(self.text):
            if number > self.header_line:
                yield number, self._split(number, line)

    def _split(self, number: int, line: str) -> tuple[str, ...]:
        try:
            return tuple(split_cells(number, line, self.delimiter))
        except FileRefused as refused:
            return (Spoilt(refused.problem.message),)


def read_delimited(text: str, limits: Limits, known: Collection[str]) -> Table:
    """The table of a text file; of the delimiters, the one under which most of the columns are known is taken."""
    text = with_one_line_end(text)
    head = list(islice(numbered_lines(text), 1 + SAMPLE_LINES))
    if not head:
        raise FileRefused(0, "The file is empty.")
    number, line = head[0]
    delimiter = _find_delimiter(head, known)
    header = read_header(number, split_cells(number, line, delimiter))
    rows = _count_rows(text, limits.max_rows)
    if not rows:
        raise FileRefused(number, "There are no rows below the header.")
    return Table(
        format="csv",
        header=header,
        header_line=number,
        rows=DelimitedRows(text, number, delimiter),
        row_count=rows,
    )


def _count_rows(text: str, max_rows: int) -> int:
    rows = -1  # the header is none
    for number, _ in numbered_lines(text):
        rows += 1
        if rows > max_rows:
            raise FileRefused(number, f"More than {max_rows:,} rows: split the file.")
    return rows


def _find_delimiter(head: list[tuple[int, str]], known: Collection[str]) -> str:
    """Known names count first, then lines with as many cells as the header, then the cells of the header."""
    number, line = head[0]
    found: list[tuple[int, int, int, str]] = []
    trouble: FileRefused | None = None
    for delimiter in DELIMITERS:
        try:
            names = split_cells(number, line, delimiter)
        except FileRefused as refused:
            trouble = refused
            continue
        matches = sum(column_name(name) in known for name in names)
        if matches or len(names) > 1:
            alike = sum(_width(entry, delimiter) == len(names) for entry in head[1:])
            found.append((matches, alike, len(names), delimiter))
    if not found:
        raise trouble or FileRefused(
            number, "The first line must name the columns, separated by commas, semicolons or tabs."
        )
    return max(found, key=lambda entry: entry[:3])[3]


def _width(entry: tuple[int, str], delimiter: str) -> int:
    try:
        return len(split_cells(*entry, delimiter))
    except FileRefused:
        return 0
