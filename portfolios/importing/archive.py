"""The zip file a workbook is: its directory is judged before anything in it is unpacked, its XML before it is read."""

import io
import stat
import zipfile
from collections.abc import Callable
from xml.parsers import expat

from portfolios.importing.cells import shown
from portfolios.importing.table import FileRefused, Limits

CHUNK = 64 * 1024
# Below this size an entry's ratio says nothing.
SMALL_ENTRY = 1024 * 1024
ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
ENCRYPTED = 0x1
# Parts that run, ask elsewhere or are not sheets of cells; the reason goes into the message.
FORBIDDEN_PARTS = {
    "vbaproject": "macros",
    "xl/macrosheets/": "macros",
    "xl/activex/": "active controls",
    "xl/externallinks/": "links to other workbooks",
    "xl/connections": "data connections",
    "xl/querytables/": "data connections",
}
OTHER_FORMATS = {
    "xl/workbook.bin": "a binary workbook (.xlsb)",
    "content.xml": "an OpenDocument file",
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a presentation",
}
SAVE_AS = "Save it as .xlsx (without macros, links or a password) or as CSV UTF-8."


def open_archive(content: bytes, limits: Limits) -> zipfile.ZipFile:
    """The workbook's archive, once its directory has passed."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise FileRefused(
            0, f"The workbook is damaged: its zip directory cannot be read. {SAVE_AS}"
        ) from error
    entries = archive.infolist()
    _check_sizes(entries, limits)
    for entry in entries:
        _check_entry(entry)
    _check_names([entry.filename for entry in entries])
    return archive


def _check_sizes(entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(entries) > limits.max_entries:
        raise FileRefused(
            0,
            f"The workbook has {len(entries):,} parts, more than {limits.max_entries:,}: keep one sheet only.",
        )
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > limits.max_unpacked_bytes:
        raise FileRefused(
            0, f"Unpacked the workbook has {unpacked:,} bytes, more than {limits.max_unpacked_bytes:,}."
        )
    packed = sum(entry.compress_size for entry in entries)
    ratios = [(entry.file_size, entry.compress_size) for entry in entries if entry.file_size > SMALL_ENTRY]
    for size, compressed in [*ratios, (unpacked, packed)]:
        if size > limits.max_ratio * max(compressed, 1):
            raise FileRefused(0, f"The workbook unpacks to more than {limits.max_ratio} times its size.")


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if entry.flag_bits & ENCRYPTED:
        raise FileRefused(0, f"The workbook is encrypted: {SAVE_AS}")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileRefused(0, f"The part {shown(name)} is compressed in an unknown way.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise FileRefused(0, f"The part {shown(name)} is a symbolic link.")
    # orig_filename: what the directory says, before zipfile cuts it at a NUL.
    steps = entry.orig_filename.replace("\\", "/").split("/")
    if ".." in steps or steps[0] == "" or ":" in steps[0] or "\0" in entry.orig_filename:
        raise FileRefused(0, f"The part {shown(name)} would lie outside the workbook.")


def _check_names(names: list[str]) -> None:
    folded = [name.casefold() for name in names]
    for part, reason in FORBIDDEN_PARTS.items():
        if any(part in name for name in folded):
            raise FileRefused(0, f"The workbook has {reason}. {SAVE_AS}")
    if len(set(folded)) != len(folded):
        raise FileRefused(0, "The workbook has two parts of one name.")
    if "xl/workbook.xml" not in names:
        other = next((kind for name, kind in OTHER_FORMATS.items() if name in folded), "a zip file")
        raise FileRefused(0, f"This is {other}, no .xlsx workbook. {SAVE_AS}")


def read_parts(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Every XML part, whole: no larger than the directory said, of the right checksum, and without a DOCTYPE."""
    parts: dict[str, bytes] = {}
    for entry in archive.infolist():
        try:
            with archive.open(entry) as file:
                if file.read(4) in ZIP_SIGNATURES:
                    raise FileRefused(
                        0, f"The part {shown(entry.filename)} is a zip file inside the workbook."
                    )
            if entry.filename.casefold().endswith((".xml", ".rels")):
                parts[entry.filename] = archive.read(entry)
        except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError) as error:
            if isinstance(error, FileRefused):
                raise
            raise FileRefused(0, f"The part {shown(entry.filename)} of the workbook is damaged.") from error
    return parts


class Enough(Exception):
    """Raised by a reader that has seen what it wanted."""


def scan_xml(
    part: str,
    content: bytes,
    on_start: Callable[[str, dict[str, str]], None],
    prepare: Callable[[expat.XMLParserType], None] | None = None,
) -> None:
    """Call on_start with each element as "namespace name" until the end or Enough.

    A DOCTYPE is refused, so no entity is ever expanded or fetched. What else is to be seen is up to prepare.
    """

    def refuse_doctype(*_: object) -> None:
        raise FileRefused(0, f"The part {shown(part)} declares a document type, which no workbook does.")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.StartElementHandler = on_start
    if prepare is not None:
        prepare(parser)
    try:
        for place in range(0, len(content), CHUNK):
            parser.Parse(content[place : place + CHUNK], False)
        parser.Parse(b"", True)
    except Enough:
        return
    except expat.ExpatError as error:
        raise FileRefused(0, f"The part {shown(part)} of the workbook is no sound XML.") from error


def find_elements(part: str, content: bytes, name: str) -> list[dict[str, str]]:
    """The attributes of every element of that name."""
    found: list[dict[str, str]] = []

    def on_start(tag: str, attributes: dict[str, str]) -> None:
        if tag.rpartition(" ")[2] == name:
            found.append({key.rpartition(" ")[2]: value for key, value in attributes.items()})

    scan_xml(part, content, on_start)
    return found


def check_prolog(part: str, content: bytes) -> None:
    """A document type can only be declared before the first element."""

    def stop(tag: str, attributes: dict[str, str]) -> None:
        raise Enough

    scan_xml(part, content, stop)
