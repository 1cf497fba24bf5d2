"""What the lines of a file mean for one advisor's book: which clients, accounts and positions are there already."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import BigIntegerField, TextField, UUIDField

from advisors.models import Client
from portfolios.fold import VOIDED
from portfolios.importing import EventLine, PositionLine, Problems, name_key
from portfolios.models import Portfolio, Position, PositionEvent, VenueAccount
from portfolios.services.bulk import is_any_of
from portfolios.services.instruments import InstrumentBook, Listed, read_instrument_book

COMPARED = ("side", "quantity", "entry_price", "isolated_wallet", "leverage", "stop_price", "opened_at")
STORED = (
    *("id", "public_id", "client_id", "client__name", "account_id", "account__venue", "account__label"),
    *("portfolio_id", "portfolio__name", "instrument_id", "external_id", "closed_at", "closed_by"),
)
# A file names the same few portfolios and accounts on thousands of lines.
key_of = lru_cache(maxsize=4_096)(name_key)
PortfolioKey = tuple[int, str]
AccountKey = tuple[int, str, str]
Line = PositionLine | EventLine


@dataclass(frozen=True, slots=True)
class Known:
    """A row that is there, with the spelling it was made with."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """A position that is there: where it is held and the values it has now."""

    id: int
    public_id: UUID
    client: Known
    account: Known
    portfolio: Known
    venue: str
    instrument_id: int
    external_id: str
    is_closed: bool
    is_withdrawn: bool
    now: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a position is to be opened; a portfolio or account that is not there yet is made by the commit."""

    client: Known
    instrument: Listed
    portfolio_name: str
    account_label: str
    external_id: str
    side: str
    portfolio_key: PortfolioKey
    account_key: AccountKey
    portfolio: Known | None
    account: Known | None


@dataclass(slots=True)
class Book:
    """What the lines of one file can refer to, read in a handful of queries."""

    instruments: InstrumentBook
    clients: dict[str, Known]
    portfolios: dict[PortfolioKey, Known] = field(default_factory=dict)
    accounts: dict[AccountKey, Known] = field(default_factory=dict)
    positions: dict[tuple[int, str], Existing] = field(default_factory=dict)
    by_public_id: dict[UUID, Existing] = field(default_factory=dict)

    def find(self, line: Line) -> Existing | None:
        """The position the line names, by our own id of it or else by its account and the id in it."""
        if line.position_id is not None and line.position_id in self.by_public_id:
            return self.by_public_id[line.position_id]
        client = self.clients.get(line.client)
        if client is None:
            return None
        account = self.accounts.get((client.id, line.venue, key_of(line.account)))
        return None if account is None else self.positions.get((account.id, line.external_id))


def read_book(lines: Iterable[Line]) -> Book:
    lines = list(lines)
    # The clients in force are the acting advisor's: someone else's reference is as unknown as one never given.
    references = {line.client for line in lines if line.client}
    clients = Client.objects.filter(reference__in=references).values_list("reference", "id", "name")
    book = Book(
        instruments=read_instrument_book(),
        clients={reference: Known(row_id, name) for reference, row_id, name in clients},
    )
    client_ids = [client.id for client in book.clients.values()]
    book.portfolios, book.accounts = read_portfolios(client_ids), read_accounts(client_ids)
    account_ids = [account.id for account in book.accounts.values()]
    external_ids = list({line.external_id for line in lines})
    found = Position.objects.filter(
        is_any_of("external_id", external_ids, TextField()), account_id__in=account_ids
    )
    book.positions = {(one.account.id, one.external_id): one for one in _existing(found)}
    public_ids = list({line.position_id for line in lines if line.position_id is not None})
    named = Position.objects.filter(is_any_of("public_id", public_ids, UUIDField()))
    book.by_public_id = {one.public_id: one for one in _existing(named)} if public_ids else {}
    return book


def read_portfolios(client_ids: Iterable[int]) -> dict[PortfolioKey, Known]:
    """By client and name as a reader takes it; of two that read the same, the older."""
    found = Portfolio.objects.filter(client_id__in=client_ids).order_by("-id")
    rows = found.values_list("id", "client_id", "name")
    return {(client_id, key_of(name)): Known(row_id, name) for row_id, client_id, name in rows}


def read_accounts(client_ids: Iterable[int]) -> dict[AccountKey, Known]:
    found = VenueAccount.objects.filter(client_id__in=client_ids).order_by("-id")
    rows = found.values_list("id", "client_id", "venue", "label")
    return {
        (client_id, venue, key_of(label)): Known(row_id, label) for row_id, client_id, venue, label in rows
    }


def _existing(found: Any) -> list[Existing]:
    return [
        Existing(
            id=row["id"],
            public_id=row["public_id"],
            client=Known(row["client_id"], row["client__name"]),
            account=Known(row["account_id"], row["account__label"]),
            portfolio=Known(row["portfolio_id"], row["portfolio__name"]),
            venue=row["account__venue"],
            instrument_id=row["instrument_id"],
            external_id=row["external_id"],
            is_closed=row["closed_at"] is not None,
            is_withdrawn=row["closed_by"] == VOIDED,
            now={name: row[name] for name in COMPARED},
        )
        for row in found.values(*STORED, *COMPARED)
    ]


def read_openings(position_ids: Iterable[int]) -> dict[int, list[dict[str, Any]]]:
    """The values each position was opened with, each time; a stop recorded with an opening belongs to it."""
    ids = is_any_of("position_id", list(position_ids), BigIntegerField())
    events = PositionEvent.objects.filter(ids, kind__in=["opened", "stop_set"])
    columns = ("position_id", "kind", "seq", "effective_at", "quantity", "price", "amount", "leverage")
    openings: dict[int, list[dict[str, Any]]] = defaultdict(list)
    places: dict[int, tuple[int, datetime]] = {}
    for row_id, kind, seq, at, quantity, price, amount, leverage in events.order_by("seq").values_list(
        *columns
    ):
        if kind == "opened":
            places[row_id] = seq + 1, at
            openings[row_id].append(
                {
                    "quantity": quantity,
                    "entry_price": price,
                    "isolated_wallet": amount,
                    "leverage": leverage,
                    "stop_price": None,
                    "opened_at": at,
                }
            )
        elif places.get(row_id) == (seq, at):
            openings[row_id][-1]["stop_price"] = price
    return openings


def find_place(line: Line, book: Book, problems: Problems) -> Place | None:
    """Where the line's position is to be opened; what is not known is added to problems."""
    client = book.clients.get(line.client)
    if client is None:
        problems.add(line.line, "client", f"There is no client '{line.client}' among yours.")
    instrument = book.instruments.get(line.venue, line.symbol)
    if instrument is None:
        # Looking for what comes near is slow, and a message beyond the hundredth is not kept.
        missing = None if problems.full else book.instruments.explain(line.venue, line.symbol)
        problems.add(line.line, missing.column if missing else "symbol", missing.message if missing else "")
    if client is None or instrument is None:
        return None
    portfolio_key = client.id, key_of(line.portfolio)
    account_key = client.id, line.venue, key_of(line.account)
    return Place(
        client=client,
        instrument=instrument,
        portfolio_name=line.portfolio,
        account_label=line.account,
        external_id=line.external_id,
        side=line.side,
        portfolio_key=portfolio_key,
        account_key=account_key,
        portfolio=book.portfolios.get(portfolio_key),
        account=book.accounts.get(account_key),
    )


def check_agrees(line: EventLine, existing: Existing, book: Book, problems: Problems) -> None:
    """Whatever a line says of the position it names is so: two ways of naming one position name the same."""
    client = book.clients.get(line.client)
    instrument = book.instruments.get(existing.venue, line.symbol) if line.symbol else None
    same = {
        "client": client is not None and client.id == existing.client.id,
        "venue": line.venue == existing.venue,
        "account": key_of(line.account) == key_of(existing.account.name),
        "external_id": line.external_id == existing.external_id,
        "portfolio": key_of(line.portfolio) == key_of(existing.portfolio.name),
        "symbol": instrument is not None and instrument.id == existing.instrument_id,
        "side": line.side == existing.now["side"],
    }
    for name, is_same in same.items():
        if getattr(line, name) and not is_same:
            problems.add(line.line, name, f"The position '{existing.external_id}' has another {name}.")


def check_agrees_with_opening(
    lines: Iterable[EventLine], opening: EventLine, place: Place, book: Book, problems: Problems
) -> None:
    """The lines of a position that the file opens say the same of it, where they say anything."""
    for line in lines:
        instrument = book.instruments.get(line.venue, line.symbol) if line.symbol else None
        same = {
            "portfolio": key_of(line.portfolio) == place.portfolio_key[1],
            "symbol": instrument is not None and instrument.id == place.instrument.id,
            "side": line.side == place.side,
        }
        for name, is_same in same.items():
            if getattr(line, name) and not is_same:
                said = f"Lines {opening.line} and {line.line} are of one position, with another {name} each."
                problems.add(line.line, name, said)
