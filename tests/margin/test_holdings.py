"""A client and a portfolio taken together: numbers counted by hand, what is left out by name, and who may see it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.scope import open_scope
from advisors.selectors import list_terms_in_force
from advisors.services import set_profile_term
from margin.charts.allocation import allocation_figure
from margin.charts.boxes import boxes_figure
from margin.charts.leverage import leverage_figure
from margin.charts.lines import NARROW_LETTERS, shortened
from margin.selectors.client_lines import count_limits, list_client_lines
from margin.selectors.holdings import Holdings, lost_so_far, read_free, read_holdings, read_way_back
from margin.selectors.limits import check_limits
from margin.selectors.positions import PositionFilter, list_positions
from margin.selectors.rows import build_row
from margin.selectors.shares import share_margin
from portfolios.services import edit_account, record_balance
from tests import doors
from tests.conftest import superuser_connection
from tests.margin.priced_book import BTC, ETH
from tests.margin.rows import raw_row
from tests.margin.test_limits import UNKNOWN


def superuse(statement: str) -> None:
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute(statement)


def taken(book, role="advisor", who=None):
    ours = book.cast.ours
    with open_scope(ours.scope(role)), transaction.atomic():
        holdings = read_holdings(PositionFilter(client_id=who or ours.client))
        return holdings, read_free(who or ours.client, holdings.rows)


def free(book, amount, asset="USDT", hours=1):
    ours = book.cast.ours
    with open_scope(ours.scope("advisor")), transaction.atomic():
        record_balance(
            account=book.accounts[f"{ours.id} {ours.client}"],
            asset=asset,
            free_collateral=Decimal(amount),
            balance_at=timezone.now() - timedelta(hours=hours),
        )


def agree(book, **limits):
    ours = book.cast.ours
    with open_scope(ours.scope("advisor")), transaction.atomic():
        for term, limit in limits.items():
            set_profile_term(
                client=ours.client,
                term=term,
                limit=Decimal(limit),
                effective_from=timezone.now().date(),
                reason="Yearly review",
            )


def test_a_client_taken_together(book):
    holdings, beside = taken(book)
    # healthy: 60,000 set aside, 2 BTC bought at 50,000 and worth 51,000 each. close: 900, 10 ETH at 3,000, now 2,960.
    assert holdings.shares.total_dollars == 60_900
    assert holdings.lost_dollars == float(10 * (Decimal(3000) - Decimal(2960)))
    assert {row.external_id: lost_so_far(row) for row in holdings.rows} == {"healthy": 0.0, "close": 400.0}
    assert holdings.closest is not None or holdings.rows[0].distance_sigmas is None
    # A tenth off 2,960 is 2,664, below the 2,921.69 at which it dies; 45,900 is above every price of the other.
    assert (holdings.fall.positions, holdings.fall.dollars, holdings.fall.left_out) == (1, 900.0, 0)
    assert (beside.dollars, beside.not_known) == (None, 1)
    free(book, "1250.5")
    assert taken(book)[1].dollars == 1250.5
    assert taken(book)[1].old == 0


def test_what_is_not_known_is_in_no_sum_and_is_counted(book):
    superuse("UPDATE margin_riskstate SET state = 5, reason = 14 WHERE max_loss = 900")
    holdings, _ = taken(book)
    assert holdings.not_sure == 1
    assert (holdings.fall.positions, holdings.fall.dollars, holdings.fall.left_out) == (0, 0.0, 1)
    assert holdings.lost_dollars == 0.0
    superuse("TRUNCATE margin_riskstate")
    holdings, beside = taken(book)
    assert (holdings.lost_dollars, holdings.closest, holdings.fall.dollars) == (None, None, None)
    assert holdings.fall.left_out == 2
    shown = doors.browser(book.cast.ours, "advisor").get(f"/clients/{book.cast.ours.client}").content.decode()
    facts = shown.partition('id="client-live"')[2].partition("</dl>")[0]
    assert facts.count("not known") >= 3
    assert 'class="state ok"' not in shown
    assert "how much of it is lost is not known" in boxes_figure(holdings, beside).title


def test_old_balances_are_said_to_be_old_and_coins_without_a_mark_have_no_price(book):
    free(book, "100", hours=25)
    found = taken(book)[1]
    assert (found.old, found.dollars) == (1, 100.0)
    shown = doors.browser(book.cast.ours, "advisor").get(f"/clients/{book.cast.ours.client}").content.decode()
    assert "older than 24 h" in shown
    rows = [build_row(raw_row())]
    figure = boxes_figure(Holdings(tuple(rows), True, "r", share_margin(rows)), found)
    assert "over 24 h old" in figure.alt


def test_figure_of_a_client_without_a_position_has_nothing_to_measure(book):
    beside = taken(book)[1]
    figure = boxes_figure(Holdings((), True, "r", share_margin([])), beside)
    assert (figure.data, figure.layout["xaxis"]["visible"]) == ([], False)
    assert figure.title.startswith("No position is open")
    assert boxes_figure(*taken(book)).layout["xaxis"]["visible"]


def test_the_venue_may_draw_what_stands_free_beside_boxes_that_are_topped_up(book):
    ours = book.cast.ours
    free(book, "5000")
    with open_scope(ours.scope("advisor")), transaction.atomic():
        edit_account(public_id=book.accounts[f"{ours.id} {ours.client}"], label="Main", auto_margin=True)
    figure = boxes_figure(*taken(book))
    assert figure.data[0]["marker"]["pattern"]["shape"] == ["", "", "/"]
    assert "may be drawn" in figure.layout["annotations"][2]["text"]
    assert (
        figure.title == "2 positions hold 60.9 k USD, 400 of it lost so far; 5 k USD stands free beside them"
    )


def test_the_way_back_is_what_the_engine_confirms(book):
    superuse(
        "UPDATE margin_riskstate SET daily_volatility = 0.03, distance_sigmas = 0.4 WHERE max_loss = 900"
    )
    holdings, _ = taken(book)
    ours = book.cast.ours
    with open_scope(ours.scope("advisor")), transaction.atomic():
        found = read_way_back(holdings.rows, 3.0)
    # Liquidated at L = M·exp(−3·0.03): W' = q·(E − L·(1 − m)), with the tier of the shipped table, m = 0.004.
    price = Decimal(2960) * (Decimal("-0.09")).exp()
    needed = 10 * (Decimal(3000) - price * (1 - Decimal("0.004"))) - 900
    ((row, amount),) = found.needed
    assert (row.external_id, amount) == ("close", needed.quantize(Decimal("0.01")))
    assert found.dollars == float(amount)


@pytest.mark.parametrize("part", ["", "/live", "/events", "/boxes.json"])
def test_a_client_of_others_is_one_that_never_was(book, part):
    ours, theirs = book.cast.ours, book.cast.theirs
    advisor = doors.browser(ours, "advisor")
    assert advisor.get(f"/clients/{ours.client}{part}").status_code == 200
    for client in (ours.other_client, theirs.client):
        assert advisor.get(f"/clients/{client}{part}").status_code == 404
    assert doors.browser(ours, "admin").get(f"/clients/{ours.client}{part}").status_code == 403


@pytest.mark.parametrize("part", ["", "/live", "/allocation.json", "/leverage.json"])
def test_a_portfolio_of_others_is_one_that_never_was(book, part):
    ours, theirs = book.cast.ours, book.cast.theirs
    advisor = doors.browser(ours, "advisor")
    shelves = {
        key: book.portfolios[f"{firm.id} {client}"]
        for key, firm, client in (
            ("own", ours, ours.client),
            ("other", ours, ours.other_client),
            ("theirs", theirs, theirs.client),
        )
    }
    assert advisor.get(f"/portfolios/{shelves['own']}{part}").status_code == 200
    assert {advisor.get(f"/portfolios/{shelves[key]}{part}").status_code for key in ("other", "theirs")} == {
        404
    }


def test_allocation_stands_against_the_cap_in_force():
    rows = [
        build_row(raw_row(id=place, isolated_wallet=Decimal(wallet), symbol=symbol))
        for place, wallet, symbol in ((1, "7500", "BTCUSDT"), (2, "2500", "ETHUSDT"))
    ]
    whole, own = share_margin(rows), share_margin(rows[:1])
    capped = allocation_figure(own, whole, Decimal(40), are_all=True, version="v")
    assert capped.title == "BTCUSDT long is 75.0 % of the client’s margin; 1 position beyond the cap of 40 %"
    assert all(note["text"].endswith(" %") for note in capped.layout["annotations"][:-1])
    assert capped.layout["shapes"][0]["x0"] == 40
    assert capped.table["rows"] == [["BTCUSDT long", "7,500", "75.00", "100.00", "40"]]
    assert allocation_figure(own, whole, Decimal(80), are_all=True, version="v").title.endswith(
        "within the cap of 80 %"
    )
    free_of_caps = allocation_figure(own, whole, None, are_all=True, version="v")
    assert free_of_caps.title.endswith("no cap is agreed")
    dark = build_row(raw_row(id=9, settle_asset="BTC", kind="inverse", **UNKNOWN))
    unsure = allocation_figure(share_margin([rows[0], dark]), share_margin([*rows, dark]), Decimal(40),
                               are_all=True, version="v")  # fmt: skip
    assert "at most 75.0 %" in unsure.title
    assert "cannot be told" in unsure.title
    assert unsure.table["rows"][1][1:3] == ["not known", "not known"]


def test_leverage_of_old_figures_is_not_drawn():
    fresh, stale = (
        build_row(raw_row()),
        build_row(raw_row(id=8, mark_age_seconds=3600.0, effective_leverage=90.0)),
    )
    figure = leverage_figure([stale, fresh], Decimal(5), version="v")
    assert figure.title == "BTCUSDT long stands at 8.5×, set at 10×"
    assert "Not known of 1 position." in figure.caption
    effective = next(trace for trace in figure.data if trace["name"] == "Effective")
    assert effective["x"] == [8.5]
    broke = replace(fresh, equity=Decimal(-1), effective_leverage=None)
    assert leverage_figure([broke], None, version="v").table["rows"][0][2] == "no equity left"


def test_names_on_the_phone_keep_both_ends():
    assert shortened("BTCUSDT long") == "BTCUSDT long"
    cut = shortened("Binance coin-margined, BTC")
    assert (cut.startswith("Binance"), cut.endswith(", BTC"), len(cut) <= NARROW_LETTERS + 1) == (
        True,
        True,
        True,
    )


LIMITS = {
    "max_effective_leverage": ("0.5", "999"),
    "max_position_share": ("50", "99.9"),
    "max_loss_per_position": ("100", "70000"),
    "min_distance": ("99", "0.5"),
    "max_isolated_margin": ("60000", "70000"),
}


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "disturbed",
    [
        "SELECT 1",
        "UPDATE margin_riskstate SET state = 5, reason = 14 WHERE max_loss = 900",
        "UPDATE margin_riskstate SET priced_at = priced_at - interval '1 hour' WHERE max_loss = 60000",
        "UPDATE portfolios_venueaccount SET auto_margin = true",
        "UPDATE margin_riskstate SET equity = -1, effective_leverage = NULL WHERE max_loss = 900",
        "UPDATE margin_riskstate SET distance_ratio = NULL, liquidation_reason = 1",
        "UPDATE portfolios_position SET closed_at = clock_timestamp()",
        "TRUNCATE margin_riskstate",
    ],
)
def test_the_list_of_clients_counts_limits_as_the_clients_page_checks_them(book, disturbed, place):
    ours = book.cast.ours
    agree(book, **{term: bounds[place] for term, bounds in LIMITS.items()})
    superuse(disturbed)
    with open_scope(ours.scope("advisor")), transaction.atomic():
        counted = count_limits()[ours.client]
        rows = list_positions(PositionFilter(client_id=ours.client)).rows
        checks = check_limits(ours.client, rows, list_terms_in_force(ours.client))
    verdicts = [check.verdict for check in checks]
    assert (counted.agreed, counted.broken, counted.unknown) == (
        5,
        verdicts.count("broken"),
        verdicts.count("unknown"),
    )


def test_a_line_of_the_list_names_what_stands_free_and_what_is_not_known(book):
    free(book, "10", "USDT", hours=30)
    ours = book.cast.ours
    with open_scope(ours.scope("compliance")), transaction.atomic():
        lines = {line.risk.public_id: line for line in list_client_lines()}
        then = {
            line.risk.public_id: line
            for line in list_client_lines(as_of=timezone.now() - timedelta(minutes=30))
        }
    own, other = lines[ours.client], lines[ours.other_client]
    assert [(part.asset, part.amount) for part in own.free.amounts] == [("USD", Decimal(10))]
    assert (own.free.is_old, own.free.not_known) == (True, 0)
    assert (other.free.amounts, other.free.not_known) == ((), 1)
    assert then == {}
    assert own.limits.agreed == 0


@pytest.mark.parametrize(
    "part", ["/clients/{client}", "/clients/{client}/boxes.json", "/clients/{client}/events", "/clients",
             "/portfolios/{portfolio}", "/portfolios/{portfolio}/allocation.json"]
)  # fmt: skip
def test_queries_do_not_grow_with_positions_balances_or_events(book, part):
    ours = book.cast.ours
    url = part.format(client=ours.client, portfolio=book.portfolios[f"{ours.id} {ours.client}"])
    agree(book, max_position_share="40")
    free(book, "10")

    def count() -> int:
        browser = doors.browser(ours, "advisor")
        browser.get(url)
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(url).status_code == 200
        return len(captured)

    first = count()
    for name, symbol in (("second", BTC), ("third", ETH), ("fourth", BTC)):
        book.open(name, ours, "advisor", ours.client, symbol, side="short",
                  quantity="1", entry_price="2950", isolated_wallet="600")  # fmt: skip
        free(book, "11")
    book.recompute()
    assert count() == first
