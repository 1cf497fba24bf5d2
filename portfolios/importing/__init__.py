"""Files of positions, read strictly. Pure: bytes in, values or problems out; no Django, no clock."""

from portfolios.importing.cells import CellError, looks_like_date, name_key, plain
from portfolios.importing.positions import COLUMNS, ParsedFile, PositionLine, parse_positions
from portfolios.importing.table import FileRefused, Problem, Problems, decode

__all__ = [
    "COLUMNS",
    "CellError",
    "FileRefused",
    "ParsedFile",
    "PositionLine",
    "Problem",
    "Problems",
    "decode",
    "looks_like_date",
    "name_key",
    "parse_positions",
    "plain",
]
