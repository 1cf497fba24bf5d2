"""Instruments: the shipped list goes into the table, and names in files and forms are looked up in it."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path

from portfolios.importing import looks_like_date
from portfolios.models import Instrument

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "instruments.csv"
TEXT_COLUMNS = (
    "venue",
    "symbol",
    "base_asset",
    "quote_asset",
    "settle_asset",
    "kind",
    "tier_label",
    "tier_symbol",
    "source",
)


class InstrumentNotFound(Exception):
    """The venue lists no such symbol; column says whether it is the venue or the symbol that is not known."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column
        self.message = message


@dataclass(frozen=True, slots=True)
class Listed:
    """What the ledger needs to know of an instrument."""

    id: int
    venue: str
    symbol: str
    kind: str
    contract_size: Decimal


class InstrumentBook:
    """Every instrument, read once, by venue and symbol."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        self.venues: dict[str, dict[str, Listed]] = {}
        self.folded: dict[tuple[str, str], list[Listed]] = {}
        for instrument in listed:
            self.venues.setdefault(instrument.venue, {})[instrument.symbol] = instrument
            self.folded.setdefault((instrument.venue, instrument.symbol.casefold()), []).append(instrument)

    def get(self, venue: str, symbol: str) -> Listed | None:
        """As the venue writes it, or in another case where only one can be meant."""
        exact = self.venues.get(venue, {}).get(symbol)
        if exact is not None:
            return exact
        alike = self.folded.get((venue, symbol.casefold()), [])
        return alike[0] if len(alike) == 1 else None

    def find(self, venue: str, symbol: str) -> Listed:
        found = self.get(venue, symbol)
        if found is None:
            raise self.explain(venue, symbol)
        return found

    def explain(self, venue: str, symbol: str) -> InstrumentNotFound:
        """Why a look-up found nothing, with what comes near."""
        if venue not in self.venues:
            near = get_close_matches(venue, self.venues, n=1)
            known = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(self.venues))}."
            return InstrumentNotFound("venue", f"'{venue}' is no venue known here; {known}")
        if looks_like_date(symbol):
            return InstrumentNotFound(
                "symbol", f"'{symbol}' is a date, as Excel makes of some symbols: format the column as Text."
            )
        elsewhere = sorted(other for other in self.venues if self.get(other, symbol))
        if elsewhere:
            return InstrumentNotFound(
                "venue", f"{venue} lists no '{symbol}'; listed by {', '.join(elsewhere)}."
            )
        by_upper = {name.upper(): name for name in self.venues[venue]}
        near = get_close_matches(symbol.upper(), by_upper, n=1)
        hint = f"; did you mean {by_upper[near[0]]}?" if near else "."
        return InstrumentNotFound("symbol", f"{venue} lists no '{symbol}'{hint}")


def read_instrument_book() -> InstrumentBook:
    rows = Instrument.objects.values_list("id", "venue", "symbol", "kind", "contract_size")
    return InstrumentBook(Listed(*row) for row in rows)


def read_shipped_instruments() -> list[dict[str, str]]:
    with SHIPPED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# What figures rest on: were it changed in place, every past moment would change with it.
SETTLED = ("kind", "contract_size", "settle_asset", "tier_label", "tier_symbol")


class InstrumentChanged(Exception):
    """A contract of other terms is another instrument, under a name of its own."""


def load_instruments(rows: Iterable[Mapping[str, str]]) -> int:
    """Put instruments into the global table, or bring those there up to date. Run it as often as you like.

    Raises InstrumentChanged where what figures rest on would change; nothing is written then.
    """
    instruments = [
        Instrument(
            **{name: row.get(name) or "" for name in TEXT_COLUMNS if name != "tier_symbol"},
            tier_symbol=row.get("tier_symbol") or row["symbol"],
            contract_size=Decimal(row["contract_size"]),
            tick_size=Decimal(row["tick_size"]),
        )
        for row in rows
    ]
    _refuse_changes(instruments)
    Instrument.objects.bulk_create(
        instruments,
        update_conflicts=True,
        unique_fields=["venue", "symbol"],
        update_fields=[
            *(name for name in TEXT_COLUMNS if name not in {"venue", "symbol"}),
            "contract_size",
            "tick_size",
        ],
    )
    return len(instruments)


def _refuse_changes(given: Iterable[Instrument]) -> None:
    there = {(row.venue, row.symbol): row for row in Instrument.objects.all()}
    for instrument in given:
        former = there.get((instrument.venue, instrument.symbol))
        for name in SETTLED if former is not None else ():
            was, now = getattr(former, name), getattr(instrument, name)
            if was != now:
                raise InstrumentChanged(
                    f"{instrument.venue} {instrument.symbol}: {name} is {was} and cannot become {now}; "
                    "list the new contract under another symbol."
                )
