"""One box for everything a member may see: clients, portfolios, accounts and positions by a piece of their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    CharField,
    Count,
    Exists,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    Window,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Concat, StrIndex
from django.db.models.lookups import GreaterThan

from advisors.models import Client
from advisors.selectors.past import former_value, wait_for_moment
from portfolios.models import Instrument, Portfolio, Position, PositionAnnotation, PositionEvent, VenueAccount
from portfolios.selectors.past import Candidate, states_as_of
from portfolios.selectors.rows import Columns

SHOWN = 20
# Between the fields that are searched: nobody can type it, so nothing is found across them.
BETWEEN = Value("\x1f", output_field=TextField())
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class ClientHit:
    public_id: UUID
    name: str
    reference: str


@dataclass(frozen=True, slots=True)
class PortfolioHit:
    public_id: UUID
    name: str
    client_name: str


@dataclass(frozen=True, slots=True)
class AccountHit:
    client_id: UUID
    label: str
    venue: str
    client_name: str


@dataclass(frozen=True, slots=True)
class PositionHit:
    public_id: UUID
    symbol: str
    side: str
    venue: str
    external_id: str
    client_name: str
    portfolio_name: str
    tags: list[str]
    is_open: bool


@dataclass(frozen=True, slots=True)
class Hits(Generic[Row]):
    """The best of what was found, and how much there is in all."""

    rows: list[Row]
    total: int

    @property
    def more(self) -> int:
        return self.total - len(self.rows)


@dataclass(frozen=True, slots=True)
class SearchResults:
    clients: Hits[ClientHit]
    portfolios: Hits[PortfolioHit]
    accounts: Hits[AccountHit]
    positions: Hits[PositionHit]

    @property
    def total(self) -> int:
        return self.clients.total + self.portfolios.total + self.accounts.total + self.positions.total


class Key(Func):
    """Text as it is compared: width and case do not count."""

    template = "lower(normalize((%(expressions)s)::text, NFKC))"
    output_field = TextField()


def _has(text: str, place: str | Combinable) -> GreaterThan:
    """Literally: a pattern that is typed is looked for as it stands."""
    return GreaterThan(StrIndex(Key(place), Key(Value(text))), 0)


def _best(found: QuerySet[Any], text: str, places: Sequence[str | Combinable], *order: Any) -> QuerySet[Any]:
    """The first few with how many there are in all; those that begin with the text come first."""
    parts = [each for place in places for each in (place, BETWEEN)]
    ranked: QuerySet[Any] = found.annotate(
        at=StrIndex(Key(Concat(*parts, output_field=TextField())), Key(Value(text))),
        total=Window(Count("id"), output_field=IntegerField()),
    )
    return ranked.order_by(*order)[:SHOWN]


def _among(found: QuerySet[Any], text: str, *places: str | Combinable, order: Sequence[Any]) -> QuerySet[Any]:
    """Rows that hold the text in one of these places."""
    held = reduce(or_, (Q(_has(text, place)) for place in places))
    return _best(found.filter(held), text, places, "at", *order)


def _hits(row: type[Row], found: QuerySet[Any], columns: Columns) -> Hits[Row]:
    values = list(found.values_list(*columns.values(), "total"))
    rows = [row(**dict(zip(columns, each[:-1], strict=True))) for each in values]
    return Hits(rows=rows, total=values[0][-1] if values else 0)


def _there_by(found: QuerySet[Any], as_of: datetime | None) -> QuerySet[Any]:
    return found if as_of is None else found.filter(created_at__lte=as_of)


def _clients(text: str, as_of: datetime | None) -> Hits[ClientHit]:
    columns: Columns = {
        "public_id": F("public_id"),
        "name": former_value("client", "name", as_of),
        "reference": former_value("client", "reference", as_of),
    }
    named = columns["name"], columns["reference"]
    found = _among(_there_by(Client.objects.all(), as_of), text, *named, order=(columns["name"], "id"))
    return _hits(ClientHit, found, columns)


def _portfolios(text: str, as_of: datetime | None) -> Hits[PortfolioHit]:
    columns: Columns = {
        "public_id": F("public_id"),
        "name": former_value("portfolio", "name", as_of),
        "client_name": former_value("client", "name", as_of, of="client__"),
    }
    order = columns["name"], columns["client_name"], "id"
    found = _among(_there_by(Portfolio.objects.all(), as_of), text, columns["name"], order=order)
    return _hits(PortfolioHit, found, columns)


def _accounts(text: str, as_of: datetime | None) -> Hits[AccountHit]:
    columns: Columns = {
        "client_id": F("client__public_id"),
        "label": former_value("account", "label", as_of),
        "venue": F("venue"),
        "client_name": former_value("client", "name", as_of, of="client__"),
    }
    order = columns["label"], "venue", columns["client_name"], "id"
    found = _among(_there_by(VenueAccount.objects.all(), as_of), text, columns["label"], order=order)
    return _hits(AccountHit, found, columns)


def _tags(as_of: datetime | None) -> Coalesce:
    """Tags in force; a list, empty where there are none."""
    rows = PositionAnnotation.objects.filter(position_id=OuterRef("id"), firm_id=OuterRef("firm_id"))
    rows = rows if as_of is None else rows.filter(recorded_at__lte=as_of)
    kind: ArrayField[Any, Any] = ArrayField(CharField())
    newest = Subquery(rows.order_by("-recorded_at", "-id").values("tags")[:1], output_field=kind)
    return Coalesce(newest, Value([], output_field=kind))


def _joined(tags: Combinable) -> Func:
    return Func(tags, BETWEEN, function="array_to_string", output_field=TextField())


def _positions(text: str, as_of: datetime | None) -> Hits[PositionHit]:
    found = Position.objects.all()
    if as_of is not None:
        known = PositionEvent.objects.filter(position_id=OuterRef("id"), firm_id=OuterRef("firm_id"))
        found = found.filter(Exists(known.filter(recorded_at__lte=as_of)))
    tags = _tags(as_of)
    # Which contracts are called so, and who ever carried such a tag, is found once and not for every position.
    called = Instrument.objects.filter(_has(text, "symbol"))
    ever = PositionAnnotation.objects.filter(_has(text, _joined(F("tags")))).values("position_id")
    tagged = Q(id__in=ever) & Q(_has(text, _joined(tags)))
    found = found.filter(Q(instrument__in=called) | Q(_has(text, "external_id")) | tagged)
    columns: Columns = {
        "public_id": F("public_id"),
        "symbol": F("instrument__symbol"),
        "side": F("side"),
        "venue": F("instrument__venue"),
        "external_id": F("external_id"),
        "client_name": former_value("client", "name", as_of, of="client__"),
        "portfolio_name": former_value("portfolio", "name", as_of, of="portfolio__"),
        "tags": tags,
        "closed_at": F("closed_at"),
        "id": F("id"),
        "contract": F("instrument__kind"),
    }
    places = columns["symbol"], columns["external_id"], _joined(tags)
    order = F("closed_at").desc(nulls_first=True), "at", columns["symbol"], "id"
    hits = _hits(dict, _best(found, text, places, *order), columns)
    return Hits(rows=_as_they_stood(hits.rows, as_of), total=hits.total)


def _as_they_stood(rows: list[dict[str, Any]], as_of: datetime | None) -> list[PositionHit]:
    keys = [(row.pop("id"), row.pop("contract")) for row in rows]
    closed = {key: row.pop("closed_at") for (key, _), row in zip(keys, rows, strict=True)}
    if as_of is not None:
        states = states_as_of(as_of, [Candidate(*each) for each in keys])
        closed = {key: state.closed_at for key, state in states.items()}
    return [PositionHit(**row, is_open=closed[key] is None) for (key, _), row in zip(keys, rows, strict=True)]


def search(text: str, *, as_of: datetime | None = None) -> SearchResults:
    """What is called something with this text in it, of each kind the best few."""
    wait_for_moment(as_of)
    return SearchResults(
        clients=_clients(text, as_of),
        portfolios=_portfolios(text, as_of),
        accounts=_accounts(text, as_of),
        positions=_positions(text, as_of),
    )
