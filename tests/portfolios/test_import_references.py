"""What a line of a file may refer to: instruments in the list, and the acting advisor's own clients and batches."""

from uuid import uuid4

import pytest
from django.db import transaction

from advisors.scope import open_scope
from portfolios import selectors, services
from portfolios.models import Position
from tests.portfolios.acting import acting_as, book_of, problems_of, stored, take_in
from tests.portfolios.files import make_file


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.mark.parametrize(
    ("change", "column", "hint"),
    [
        ({"symbol": "BTCUDST"}, "symbol", "did you mean BTCUSDT?"),
        ({"symbol": "MAR1"}, "symbol", "is a date, as Excel makes"),
        ({"symbol": "#REF!"}, "symbol", "lists no '#REF!'"),
        ({"symbol": "BTC‐USDT"}, "symbol", "did you mean BTCUSDT?"),
        ({"venue": "binance_usd"}, "venue", "did you mean binance_usdm?"),
        ({"venue": "nyse"}, "venue", "known are"),
        ({"venue": "okx"}, "venue", "okx lists no 'BTCUSDT'; listed by binance_usdm"),
    ],
)
def test_unknown_instrument_is_refused_with_what_comes_near(firm, change, column, hint):
    ((line, named, message),) = problems_of(firm, make_file(change))
    assert (line, named) == (2, column)
    assert hint in message


def test_symbol_and_venue_are_found_in_any_case(firm):
    take_in(firm, make_file({"symbol": "btcusdt", "venue": " BINANCE_USDM "}))
    with acting_as(firm):
        assert Position.objects.get().instrument.symbol == "BTCUSDT"


def test_clients_of_others_are_as_unknown_as_none(shelves, firm):
    with acting_as(shelves.theirs.firm):
        foreign = services.create_portfolio(client=shelves.theirs.firm.client, name="Theirs")
    with open_scope(shelves.theirs.firm.scope("advisor")), transaction.atomic():
        assert selectors.get_portfolio(foreign).name == "Theirs"
    said = {
        reference: problems_of(firm, make_file({"client": reference}))[0][2].replace(reference, "…")
        for reference in ("OTHER_CLIENT", "NEVER_WAS")
    }
    assert len(set(said.values())) == 1
    # The colleague's client can be named by the colleague: the refusal is not about the reference.
    with acting_as(firm, "colleague"):
        assert services.preview_import(make_file({"client": "OTHER_CLIENT"})).problems == ()


def test_file_opens_positions_in_the_acting_advisors_firm_only(shelves, firm):
    theirs = book_of(shelves.theirs.firm)
    take_in(firm, make_file({}))
    assert book_of(shelves.theirs.firm) == theirs
    with acting_as(shelves.theirs.firm, "compliance"):
        assert selectors.list_batches() == []


def test_batch_of_another_is_as_absent_as_none(shelves, firm):
    with acting_as(firm):
        batch = stored(make_file({}))
        assert selectors.get_batch(batch).state == "previewed"
    for other, role in ((firm, "colleague"), (shelves.theirs.firm, "advisor")):
        with acting_as(other, role):
            assert selectors.list_batches() == []
            for public_id in (batch, uuid4()):
                with pytest.raises(selectors.BatchNotFound):
                    selectors.get_batch(public_id)
                with pytest.raises(selectors.BatchNotFound):
                    services.preview_batch(public_id)
                with pytest.raises(selectors.BatchNotFound), transaction.atomic():
                    services.commit_import(public_id)
    with acting_as(firm, "compliance"):
        assert [row.public_id for row in selectors.list_batches()] == [batch]
