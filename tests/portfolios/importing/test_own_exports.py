"""Our own exports are read back: every value, and text exactly as it was before it was made inert."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from advisors.exports import Column, Report, inert, write_csv
from margin.reports import COLUMNS as POSITIONS_EXPORT
from portfolios.importing import (
    Limits,
    is_own_export,
    read_table,
)
from portfolios.importing.cells import active
from portfolios.reports import COLUMNS as EVENTS_EXPORT
from tests.portfolios.files import make_file
from tests.portfolios.importing.test_reading import POSITION, one_line


def export(columns: tuple[Column, ...], tmp_path: Path, **values: object) -> bytes:
    """A file as the export writes it, of one row; what is not given is not known."""
    row = SimpleNamespace(**{column.key: values.get(column.header) for column in columns})
    path = tmp_path / "export.csv"
    report = Report(name="x", title="x", columns=columns, count=lambda: 1, rows=lambda: iter([row]))
    write_csv(report, path, lambda rows: None)
    return path.read_bytes()


def test_our_export_of_positions_is_read_back(tmp_path):
    opened_at = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)
    content = export(
        POSITIONS_EXPORT,
        tmp_path,
        position_id=UUID(POSITION),
        external_id="=1+1",
        client="A name",
        portfolio="-Core",
        account="@Main;=x",
        venue="binance_usdm",
        symbol="BTCUSDT",
        side="long",
        quantity=Decimal("0.500000000000000000"),
        entry_price=Decimal("60000.1"),
        isolated_wallet=Decimal("-3.5"),
        leverage_set=Decimal(10),
        mark_price=Decimal(61000),
        opened_at=opened_at,
        computed_at=opened_at,
    )
    table = read_table(content, Limits())
    assert is_own_export(table.header)
    line = one_line(content)
    assert (line.position_id, line.external_id) == (UUID(POSITION), "=1+1")
    assert (line.portfolio, line.account) == ("-Core", "@Main;=x")
    assert (line.quantity, line.isolated_wallet, line.leverage) == (Decimal("0.5"), Decimal("-3.5"), 10)
    assert (line.opened_at, line.stop_price, line.mark_price) == (opened_at, None, None)
    assert line.client in ("", "A reference")


def test_our_export_of_events_is_read_back(tmp_path):
    at = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
    content = export(
        EVENTS_EXPORT,
        tmp_path,
        seq=7,
        position_id=UUID(POSITION),
        external_id="x1",
        client="A name",
        client_reference="+C",
        portfolio="Core",
        account="Main",
        venue="okx",
        symbol="BTC-USDT-SWAP",
        side="short",
        event="funding",
        effective_at=at,
        recorded_at=at,
        amount=Decimal("-1.5"),
        note="=paid",
        author="A person",
    )
    line = one_line(content)
    assert (line.seq, line.position_id, line.client, line.external_id) == (7, UUID(POSITION), "+C", "x1")
    assert (line.kind, line.effective_at, line.amount, line.quantity) == (
        "funding",
        at,
        Decimal("-1.5"),
        None,
    )
    assert (line.portfolio, line.symbol, line.side, line.note) == ("Core", "BTC-USDT-SWAP", "short", "=paid")


def test_apostrophes_of_other_files_are_theirs():
    assert one_line(make_file({"portfolio": "'=1"})).portfolio == "'=1"


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), max_size=30))
def test_text_made_inert_is_made_active_again(text):
    assert active(inert(text)) == text


@given(st.text(alphabet="'\"=+-@ ,;|x＝", max_size=12))
def test_text_of_signs_made_inert_is_made_active_again(text):
    assert active(inert(text)) == text


def test_text_with_tabs_is_left_to_be_refused():
    assert active("'=\t'" * 10_000) == "'=\t'" * 10_000


# Sizes and names.
