"""From the bytes of any file to a table, by what the file is and not by what it is called."""

from portfolios.importing.columns import KNOWN_NAMES
from portfolios.importing.delimited import decode, read_delimited
from portfolios.importing.table import FileRefused, Limits, Table
from portfolios.importing.workbook import read_workbook

ZIP = b"PK"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
OTHER_FILES = {
    b"%pdf": "a PDF",
    b"{\\rtf": "a text document",
    b"<": "a web page or XML",
    b"\x1f\x8b": "a compressed file",
}


def read_table(content: bytes, limits: Limits) -> Table:
    """The file's table. Raises FileRefused and nothing else, whatever the bytes are."""
    if len(content) > limits.max_bytes:
        raise FileRefused(0, f"The file is larger than {limits.max_bytes:,} bytes.")
    if content.startswith(OLE):
        raise FileRefused(
            0,
            "The workbook has a password or is in the old .xls format: save it as .xlsx without a password.",
        )
    if content.startswith(ZIP) and content[2:4] in (b"\x03\x04", b"\x05\x06"):
        return read_workbook(content, limits)
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:8].lower()
    for sign, kind in OTHER_FILES.items():
        if start.startswith(sign):
            raise FileRefused(
                0, f"This is {kind}, whatever its name says: save the table as .xlsx or CSV UTF-8."
            )
    return read_delimited(decode(content, limits.max_bytes), limits, KNOWN_NAMES)
