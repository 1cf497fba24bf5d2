"""Files taken in, read strictly. Pure: bytes in, values or problems out; no Django, no clock."""

from portfolios.importing.cells import CellError, Number, Spoilt, looks_like_date, name_key, plain
from portfolios.importing.clients import ClientLine
from portfolios.importing.columns import COLUMNS_BY_KIND, EVENT_KINDS, ColumnRule
from portfolios.importing.delimited import decode
from portfolios.importing.events import EventLine
from portfolios.importing.files import read_table
from portfolios.importing.parsing import ParsedFile, parse
from portfolios.importing.positions import CLOCK_SLACK, PositionLine
from portfolios.importing.reading import (
    DECIMAL_MARKS,
    BadReading,
    Reading,
    check_reading,
    column_of,
    guess,
    ignored_columns,
    is_own_export,
    says_enough,
    shared_reading,
    suggest,
)
from portfolios.importing.table import (
    FileRefused,
    Limits,
    Problem,
    Problems,
    Table,
    column_name,
    fingerprint,
)

__all__ = [
    "CLOCK_SLACK",
    "COLUMNS_BY_KIND",
    "DECIMAL_MARKS",
    "EVENT_KINDS",
    "BadReading",
    "CellError",
    "ClientLine",
    "ColumnRule",
    "EventLine",
    "FileRefused",
    "Limits",
    "Number",
    "ParsedFile",
    "PositionLine",
    "Problem",
    "Problems",
    "Reading",
    "Spoilt",
    "Table",
    "check_reading",
    "column_name",
    "column_of",
    "decode",
    "fingerprint",
    "guess",
    "ignored_columns",
    "is_own_export",
    "looks_like_date",
    "name_key",
    "parse",
    "plain",
    "read_table",
    "says_enough",
    "shared_reading",
    "suggest",
]
