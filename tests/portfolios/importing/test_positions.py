"""Lines of positions: whole files, repeats, wallets given in two ways."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.importing.cells import CellError
from portfolios.importing.table import Problems
from tests.portfolios.files import (
    OPTIONAL,
    SOUND,
    make_file,
    only_problem,
    parse,
)


def test_sound_line_is_read_exactly():
    parsed = parse(make_file(OPTIONAL))
    assert parsed.problems.count == 0
    (line,) = parsed.lines
    assert (line.line, line.client, line.portfolio, line.account) == (2, "CLIENT", "Core", "Main")
    assert (line.venue, line.symbol, line.side, line.external_id) == ("binance_usdm", "BTCUSDT", "long", "1")
    assert [line.quantity, line.entry_price, line.isolated_wallet] == [Decimal("0.5"), 60000, 3000]
    assert [line.leverage, line.stop_price, line.note] == [10, 55000, "from the desk"]
    assert line.opened_at == datetime(2026, 11, 2, 8, 30, tzinfo=UTC)


def test_optional_columns_may_be_absent_or_empty():
    for content in (make_file({}), make_file(dict.fromkeys(OPTIONAL, ""))):
        (line,) = parse(content).lines
        assert (line.leverage, line.stop_price, line.opened_at, line.note) == (None, None, None, None)


def test_first_hundred_problems_are_listed_with_the_total():
    parsed = parse(make_file(*({"quantity": "x", "side": "up"} for _ in range(150))))
    assert parsed.problems.count == 300
    assert len(parsed.problems.listed) == 100
    assert {problem.line for problem in parsed.problems.listed} == set(range(2, 52))


def test_joined_problems_are_the_first_of_both():
    one, two = Problems(), Problems()
    for line in range(1, 400, 2):
        one.add(line, "a", "odd")
        two.add(line + 1, "b", "even")
    both = one.joined(two)
    assert both.count == 400
    assert [problem.line for problem in both.listed] == list(range(1, 101))


# W with and without unrealised P&L.


@pytest.mark.parametrize(
    ("side", "kind", "contract_size", "wallet"),
    [
        ("long", "linear", "1", "3000"),
        ("short", "linear", "1", "4000"),
        ("long", "linear", "0.1", "3450"),
    ],
)
def test_wallet_is_the_margin_without_its_unrealised_pnl(side, kind, contract_size, wallet):
    content = _margin_lines(side=side)
    (line,) = parse(content).lines
    assert line.wallet(kind=kind, contract_size=Decimal(contract_size)) == Decimal(wallet)


def _margin_lines(**changes: str) -> bytes:
    line = {**SOUND, "isolated_margin_incl_upnl": "3500", "mark_price": "61000", **changes}
    del line["isolated_wallet"]
    return (",".join(line) + "\n" + ",".join(line.values()) + "\n").encode()


def test_wallet_of_an_inverse_position_is_in_coin():
    (line,) = parse(
        _margin_lines(quantity="100", entry_price="50000", mark_price="40000", isolated_margin_incl_upnl="1")
    ).lines
    # 100 × 100 × (1/50,000 − 1/40,000) = −0.05 coin.
    assert line.wallet(kind="inverse", contract_size=Decimal(100)) == Decimal("1.05")


def test_wallet_that_would_be_nothing_is_refused():
    (line,) = parse(_margin_lines(isolated_margin_incl_upnl="500")).lines
    with pytest.raises(CellError, match=r"wallet would be 0\.00000000"):
        line.wallet(kind="linear", contract_size=Decimal(1))


def test_line_without_any_wallet_has_none():
    (line,) = parse(make_file({})).lines
    with pytest.raises(CellError, match="missing"):
        replace(line, isolated_wallet=None).wallet(kind="linear", contract_size=Decimal(1))


def test_margin_columns_come_together_and_not_beside_the_wallet():
    both = make_file({"isolated_margin_incl_upnl": "1", "mark_price": "1"})
    assert only_problem(both)[1:] == ("isolated_wallet", "Give it or isolated_margin_incl_upnl, not both.")
    alone = _margin_lines().replace(b",mark_price", b"").replace(b",61000", b"")
    assert only_problem(alone)[1] == "mark_price"
    assert only_problem(make_file({"mark_price": "1"}))[1] == "mark_price"


@pytest.mark.parametrize("text", ["LONG", " Short "])
def test_side_ignores_case(text):
    (line,) = parse(make_file({"side": text})).lines
    assert line.side == text.strip().lower()


@pytest.mark.parametrize("text", ["buy", "1", "longshort", "net"])
def test_side_is_long_or_short(text):
    assert "neither long nor short" in only_problem(make_file({"side": text}))[2]


def test_same_position_twice_names_both_lines():
    content = make_file(
        {"external_id": "a"}, {"external_id": "b"}, {"external_id": "a", "account": " MAIN ", "quantity": "7"}
    )
    line, column, message = only_problem(content)
    assert (line, column) == (4, "external_id")
    assert "Lines 2 and 4" in message


def test_same_id_at_another_account_venue_or_client_is_another_position():
    content = make_file(
        {"external_id": "a"},
        {"external_id": "a", "account": "Second"},
        {"external_id": "a", "venue": "okx"},
        {"external_id": "a", "client": "OTHER"},
        {"external_id": "A"},
    )
    assert len(parse(content).lines) == 5


@given(st.lists(st.text(max_size=20), min_size=10, max_size=10))
def test_any_cells_give_a_line_or_problems(cells):
    row = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    parsed = parse((",".join(SOUND) + "\n" + row).encode("utf-8", "replace"))
    assert parsed.problems.count > 0 or parsed.lines
