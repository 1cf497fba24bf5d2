"""Hostile rows 47 and 48: workbooks made to exhaust, to reach outside or to be something else."""

import io
import struct
import zipfile

import pytest

from portfolios.importing import FileRefused, Limits, read_table
from tests.portfolios.importing.workbooks import (
    MAIN,
    OFFICE_LINKS,
    PACKAGE_LINKS,
    SHEET,
    XML,
    Raw,
    make_parts,
    make_workbook,
    pack,
    sheet_xml,
    with_part,
)

MEGABYTE = 1024 * 1024
SOUND = make_parts({"Sheet1": sheet_xml([["client", "name"], ["A", "B"]])})


def refused(content: bytes, **limits: int) -> str:
    with pytest.raises(FileRefused) as caught:
        read_table(content, Limits(**limits))
    assert caught.value.problem.message.isprintable()
    return caught.value.problem.message


def test_the_workbook_all_others_are_made_from_is_sound():
    assert read_table(pack(SOUND), Limits()).row_count == 1


# Sizes.


def pack_zeros(megabytes: int) -> bytes:
    out = io.BytesIO(pack(SOUND))
    with (
        zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/media/picture.bin", "w") as file,
    ):
        for _ in range(megabytes):
            file.write(bytes(MEGABYTE))
    return out.getvalue()


def test_zip_bomb_is_refused_by_its_directory():
    bomb = pack_zeros(300)
    assert len(bomb) < MEGABYTE
    assert refused(bomb).startswith("Unpacked the workbook has 314,57")


def test_ratio_beyond_any_sheet_is_refused():
    assert refused(pack_zeros(10)) == "The workbook unpacks to more than 100 times its size."


def lie_about_size(content: bytes, name: str, size: int) -> bytes:
    """The same archive, whose directory and header claim another size for one part."""
    changed = bytearray(content)
    for signature, name_at, size_at in ((b"PK\x03\x04", 30, 22), (b"PK\x01\x02", 46, 24)):
        place = content.index(signature)
        while content[place + name_at : place + name_at + len(name)] != name.encode():
            place = content.index(signature, place + 1)
        changed[place + size_at : place + size_at + 4] = struct.pack("<I", size)
    return bytes(changed)


@pytest.mark.parametrize("size", [10, 5_000])
def test_directory_that_lies_about_a_size_is_refused(size):
    rows = [["client"], *([f"C{row}"] for row in range(1_000))]
    assert (
        refused(lie_about_size(make_workbook(rows), SHEET, size))
        == f"The part '{SHEET}' of the workbook is damaged."
    )


def test_bomb_with_a_small_declared_size_is_not_unpacked():
    sheet = f"{sheet_xml([['a'], ['1']])}{' ' * 10_000_000}"
    lie = lie_about_size(pack(make_parts({"S": sheet})), SHEET, 100_000)
    assert refused(lie) == f"The part '{SHEET}' of the workbook is damaged."


def test_ten_thousand_sheets_are_refused_by_the_directory():
    assert refused(pack(SOUND | {f"xl/worksheets/s{place}.xml": "" for place in range(10_000)})) == (
        "The workbook has 10,005 parts, more than 200: keep one sheet only."
    )


def test_sheet_that_claims_to_reach_to_the_end_is_refused():
    message = refused(make_workbook([["a"], ["1"]], dimension="A1:XFD1048576"))
    assert message.startswith("The sheet says that it reaches to XFD1048576, beyond 20,000 rows")


@pytest.mark.parametrize("place", ["A1048576", "XFD2", "A21001", "IW2"])
def test_sheet_that_reaches_too_far_is_refused_whatever_it_claims(place):
    digits = place.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    far = f'<row r="{digits}"><c r="{place}"><v>1</v></c></row>'
    sheet = sheet_xml([["a"]], dimension="A1:A2").replace("</sheetData>", f"{far}</sheetData>")
    assert refused(pack(make_parts({"S": sheet}))).startswith(f"The sheet reaches to {place}, beyond")


def test_far_cells_without_a_value_are_no_reach():
    far = '<row r="1048576"><c r="XFD1048576" s="1"/></row>'
    sheet = sheet_xml([["a"], ["1"]]).replace("</sheetData>", f"{far}</sheetData>")
    assert read_table(pack(make_parts({"S": sheet})), Limits()).row_count == 1


def test_a_million_rows_are_refused():
    row = '<row><c t="str"><v>x</v></c></row>'
    sheet = f'{XML}<worksheet xmlns="{MAIN}"><sheetData>{row * 1_000_000}</sheetData></worksheet>'
    assert (
        refused(pack(make_parts({"S": sheet})), max_ratio=1_000) == "More than 20,000 rows: split the file."
    )


def test_merged_cells_without_end_are_refused():
    after = "<mergeCells>" + '<mergeCell ref="A1:IV20000"/>' * 3 + "</mergeCells>"
    assert (
        refused(make_workbook([["a"], ["1"]], after=after))
        == "The sheet merges too many cells: unmerge them."
    )


def many_times_one_text(cells: int) -> bytes:
    """A few megabytes that become gigabytes where each cell holds a text of its own."""
    strings = f'{XML}<sst xmlns="{MAIN}"><si><t>{"x" * 32_000}</t></si></sst>'
    cell = Raw('<c r="{r}" t="s"><v>0</v></c>')
    parts = make_parts({"S": sheet_xml([["a"] * 1, *([cell] for _ in range(cells))])})
    link = f'<Relationship Id="rId9" Type="{OFFICE_LINKS}/sharedStrings" Target="sharedStrings.xml"/>'
    links = parts["xl/_rels/workbook.xml.rels"].replace("</Relationships>", f"{link}</Relationships>")
    return pack({**parts, "xl/sharedStrings.xml": strings, "xl/_rels/workbook.xml.rels": links})


def test_one_text_in_every_cell_is_refused_by_what_it_becomes():
    assert refused(many_times_one_text(2_000)) == "The sheet holds more than 52,428,800 bytes of text."


def test_reader_that_wants_too_much_memory_dies_alone():
    assert "reading it takes more than 512 MB or 20 s" in refused(many_times_one_text(19_000))


def test_reader_that_takes_too_long_is_ended():
    assert "reading it takes more than 512 MB or 0 s" in refused(pack(SOUND), child_seconds=0)


# Names, links, macros, other formats.


@pytest.mark.parametrize(
    "name",
    [
        "../evil.xml",
        "xl/../../evil.xml",
        "/etc/passwd",
        "\\\\host\\share",
        "C:\\evil.xml",
        "xl\\..\\..\\evil",
    ],
)
def test_part_that_would_lie_outside_is_refused(name):
    assert "would lie outside the workbook" in refused(with_part(name))


def test_symbolic_link_is_refused():
    out = io.BytesIO(pack(SOUND))
    with zipfile.ZipFile(out, "a") as archive:
        link = zipfile.ZipInfo("xl/link.xml")
        link.create_system = 3
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert refused(out.getvalue()) == "The part 'xl/link.xml' is a symbolic link."


@pytest.mark.parametrize("name", ["xl/embeddings/inner.xlsx", "xl/media/picture.png", "xl/inner.xml"])
def test_zip_file_inside_is_refused_whatever_it_is_called(name):
    assert refused(with_part(name, pack(SOUND))) == f"The part '{name}' is a zip file inside the workbook."


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("xl/vbaProject.bin", "macros"),
        ("XL/VBAPROJECT.BIN", "macros"),
        ("xl/macrosheets/sheet1.xml", "macros"),
        ("xl/activeX/activeX1.bin", "active controls"),
        ("xl/externalLinks/externalLink1.xml", "links to other workbooks"),
        ("xl/connections.xml", "data connections"),
        ("xl/queryTables/queryTable1.xml", "data connections"),
    ],
)
def test_part_that_runs_or_asks_elsewhere_is_refused(name, reason):
    assert refused(with_part(name)).startswith(f"The workbook has {reason}.")


def link_to(kind: str) -> bytes:
    links = (
        f'{XML}<Relationships xmlns="{PACKAGE_LINKS}"><Relationship Id="rId1" Type="{OFFICE_LINKS}/{kind}" '
        'Target="http://example.org/" TargetMode="External"/></Relationships>'
    )
    return with_part("xl/worksheets/_rels/sheet1.xml.rels", links)


def test_link_to_the_outside_is_refused_but_a_hyperlink_is_only_text():
    assert (
        refused(link_to("oleObject")) == "The workbook links to something outside it: 'http://example.org/'."
    )
    assert read_table(link_to("hyperlink"), Limits()).row_count == 1


LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + place)} "{f"&{chr(97 + place)};" * 10}">' for place in range(9))
    + "]>"
)
OUTSIDE = '<!DOCTYPE x [<!ENTITY xxe SYSTEM "file:///etc/passwd">]>'
REMOTE = '<!DOCTYPE x SYSTEM "http://example.org/x.dtd">'


@pytest.mark.parametrize("doctype", [LAUGHS, OUTSIDE, REMOTE], ids=["laughs", "xxe", "dtd"])
@pytest.mark.parametrize("part", [SHEET, "xl/workbook.xml", "xl/styles.xml", "xl/_rels/workbook.xml.rels"])
def test_document_type_is_refused_in_every_part(doctype, part):
    content = SOUND[part].replace(XML, f"{XML}{doctype}").replace("<v>", "<v>&j;&xxe;")
    assert (
        refused(with_part(part, content))
        == f"The part '{part}' declares a document type, which no workbook does."
    )


def test_document_type_in_utf_16_is_refused_too():
    content = SOUND[SHEET].replace(XML, f'<?xml version="1.0" encoding="UTF-16"?>{OUTSIDE}').encode("utf-16")
    assert "declares a document type" in refused(with_part(SHEET, content))


def encrypt(content: bytes) -> bytes:
    changed = bytearray(content)
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[content.index(signature) + flags_at] |= 1
    return bytes(changed)


def test_encrypted_part_is_refused():
    assert refused(encrypt(pack(SOUND))).startswith("The workbook is encrypted")


def test_workbook_with_a_password_or_of_old_is_refused():
    content = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2_000)
    assert "has a password or is in the old .xls format" in refused(content)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html><table><tr><td>client</td></tr></table></html>", "a web page or XML"),
        (b"\xef\xbb\xbf \r\n<HTML xmlns:x='urn:schemas-microsoft-com:office:excel'>", "a web page or XML"),
        (b'<?xml version="1.0"?><Workbook/>', "a web page or XML"),
        (b"%PDF-1.7\n1 0 obj\n", "a PDF"),
        (b"{\\rtf1 client,name}", "a text document"),
        (b"\x1f\x8b\x08\x00aaaa", "a compressed file"),
    ],
)
def test_other_file_under_a_spreadsheets_name_is_told_by_its_content(content, kind):
    assert refused(content).startswith(f"This is {kind}, whatever its name says")


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ({"xl/workbook.bin": ""}, "a binary workbook (.xlsb)"),
        (
            {"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": ""},
            "an OpenDocument file",
        ),
        ({"word/document.xml": ""}, "a Word document"),
        ({"ppt/presentation.xml": ""}, "a presentation"),
        ({"positions.csv": "client,name"}, "a zip file"),
        ({}, "a zip file"),
    ],
)
def test_other_archive_is_told_by_its_parts(parts, kind):
    assert refused(pack(parts)).startswith(f"This is {kind}, no .xlsx workbook.")


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04",
        pack(SOUND)[:-30],
        pack(SOUND)[:400],
        pack({**SOUND, SHEET: "<worksheet"}),
        pack({**SOUND, "xl/workbook.xml": "no xml"}),
        pack({name: content for name, content in SOUND.items() if "rels" not in name}),
    ],
)
def test_damaged_workbook_is_refused(content):
    assert refused(content)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(compression):
    assert "compressed in an unknown way" in refused(pack(SOUND, compression))


def test_two_parts_of_one_name_are_refused():
    assert refused(with_part("XL/Worksheets/Sheet1.xml")) == "The workbook has two parts of one name."


@pytest.mark.parametrize("row", ['<row r="0">', '<row r="x">', '<row r="99999999">'])
def test_row_without_a_sound_number_is_refused(row):
    sheet = sheet_xml([["a"], ["1"]]).replace('<row r="2">', row)
    assert "row without a sound number" in refused(pack(make_parts({"S": sheet})))


def test_cell_outside_its_row_is_refused():
    sheet = sheet_xml([["a"], ["1"]]).replace('r="A2"', 'r="A3"')
    assert refused(pack(make_parts({"S": sheet}))) == "The cell 'A3' does not stand in row 2."


def test_file_beyond_the_size_limit_is_refused_unread():
    assert refused(pack(SOUND), max_bytes=100) == "The file is larger than 100 bytes."
