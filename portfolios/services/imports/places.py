"""Where imported positions are held: portfolios and accounts named for the first time, and the positions' rows."""

from collections.abc import Iterable, Sequence
from uuid import uuid4

from django.utils import timezone

from portfolios.fold import State
from portfolios.models import Portfolio, VenueAccount
from portfolios.services.bulk import insert_rows
from portfolios.services.imports.resolving import Place, read_accounts, read_portfolios
from portfolios.services.ledger import Places, fields_of


def make_missing(places: Sequence[Place]) -> dict[str, list[list[str]]]:
    """Portfolios and accounts that are not there yet, in the spelling of their first line."""
    now = timezone.now()
    portfolios = {place.portfolio_key: place for place in reversed(places) if place.portfolio is None}
    accounts = {place.account_key: place for place in reversed(places) if place.account is None}
    # Somebody may be making one of the same name by hand right now: then theirs is taken.
    Portfolio.objects.bulk_create(
        [
            Portfolio(client_id=place.client.id, name=place.portfolio_name, created_at=now)
            for place in portfolios.values()
        ],
        ignore_conflicts=True,
    )
    VenueAccount.objects.bulk_create(
        [
            VenueAccount(
                client_id=place.client.id,
                venue=place.instrument.venue,
                label=place.account_label,
                created_at=now,
            )
            for place in accounts.values()
        ],
        ignore_conflicts=True,
    )
    return {
        "new_portfolios": sorted([place.client.name, place.portfolio_name] for place in portfolios.values()),
        "new_accounts": sorted(
            [place.client.name, place.instrument.venue, place.account_label] for place in accounts.values()
        ),
    }


def insert_positions(opened: Sequence[Place], states: Iterable[State], places: Places) -> list[int]:
    """All positions in a few statements; their ids, in order."""
    client_ids = {place.client.id for place in opened}
    portfolios, accounts = read_portfolios(client_ids), read_accounts(client_ids)
    return insert_rows(
        "portfolios_position",
        (
            {
                "public_id": uuid4(),
                "client_id": place.client.id,
                "portfolio_id": portfolios[place.portfolio_key].id,
                "account_id": accounts[place.account_key].id,
                "instrument_id": place.instrument.id,
                "external_id": place.external_id,
                "side": place.side,
                "last_recorded_at": places.recorded_at,
                **fields_of(state),
            }
            for place, state in zip(opened, states, strict=True)
        ),
    )
