"""Business days: each is sealed as it stood when it ended in its firm's time zone, and days missed are made up."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection

from advisors import audit
from advisors.jobs import firm_scope, list_firm_ids
from margin.engine import VERSION
from margin.engine.states import UNKNOWN
from margin.models import SealedBook, SealedDay
from margin.selectors.past import Held, PastBook, read_past_book
from portfolios.services.ledger import FOLDED

log = structlog.get_logger(__name__)

# What was recorded before a day's end is committed by then, and what a sweep that began before it found, so that
# nobody who seals needs to wait for it: a sweep may take twenty seconds.
SETTLED = timedelta(seconds=30)
# A year of downtime is made up over several runs, each within the time a task may take.
DAYS_PER_RUN = 30
STANDING = """
SELECT (SELECT time_zone FROM advisors_firm), (SELECT max(day) FROM margin_sealedday),
    (SELECT min(recorded_at) FROM portfolios_positionevent)
"""
LAST_SEQ = """
SELECT seq FROM portfolios_positionevent WHERE recorded_at <= %s ORDER BY recorded_at DESC, seq DESC LIMIT 1
"""


def seal_due_days(now: datetime) -> int:
    """Seal what is due in every firm; a firm that fails keeps none of the others waiting. The number of days sealed."""
    sealed = 0
    for firm_id in list_firm_ids():
        try:
            sealed += _seal_firm(firm_id, now)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            if connection.connection is None or connection.connection.closed:
                raise
            log.exception("sealing_failed", firm_id=firm_id, error=type(error).__name__)
    return sealed


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of the day after, by the clocks of the place."""
    return datetime.combine(day + timedelta(days=1), time.min, tzinfo=zone).astimezone(UTC)


def _seal_firm(firm_id: int, now: datetime) -> int:
    with firm_scope(firm_id), connection.cursor() as cursor:
        cursor.execute(STANDING)
        time_zone, last_day, first_recorded_at = cursor.fetchone()
    if first_recorded_at is None:
        return 0
    zone = ZoneInfo(time_zone)
    first = first_recorded_at.astimezone(zone).date() if last_day is None else last_day + timedelta(days=1)
    sealed = 0
    for day in _due_days(first, zone, now):
        with firm_scope(firm_id):
            sealed += seal_day(day, end_of_day(day, zone))
    return sealed


def _due_days(first: date, zone: ZoneInfo, now: datetime) -> Iterator[date]:
    for offset in range(DAYS_PER_RUN):
        day = first + timedelta(days=offset)
        if end_of_day(day, zone) > now - SETTLED:
            return
        yield day


def seal_day(day: date, as_of: datetime) -> int:
    """Write down the book in the scope in force as it stood then; 0 where the day is sealed already."""
    if SealedDay.objects.filter(day=day).exists():
        return 0
    book = read_past_book(as_of)
    with connection.cursor() as cursor:
        cursor.execute(LAST_SEQ, [as_of])
        last_seq = (cursor.fetchone() or (0,))[0]
        cursor.execute("SELECT clock_timestamp()")
        sealed_at = cursor.fetchone()[0]
    states = book.figures.state
    written = {"positions": len(book.held), "unknown": int(np.count_nonzero(states == UNKNOWN))}
    signed = {"as_of": as_of, "last_seq": last_seq, "engine_version": VERSION, **written}
    SealedDay(day=day, sealed_at=sealed_at, **signed).save(force_insert=True)
    SealedBook.objects.bulk_create(_books(book, day, as_of))
    audit.record("day sealed", object_type="day", object_id=day, after=signed)
    return 1


def _books(book: PastBook, day: date, as_of: datetime) -> list[SealedBook]:
    clients: dict[int, list[int]] = {}
    for place, held in enumerate(book.held):
        clients.setdefault(held.client_id, []).append(place)
    return [
        SealedBook(
            client_id=client_id,
            day=day,
            as_of=as_of,
            **_states([book.held[place] for place in places]),
            **_figures(book, places),
        )
        for client_id, places in clients.items()
    ]


def _states(held: list[Held]) -> dict[str, list[Any]]:
    """The folds, from which a later moment goes on."""
    columns = {name: [getattr(one.state, name) for one in held] for name in FOLDED}
    return {
        "positions": [one.position_id for one in held],
        "versions": columns["version"],
        "quantities": columns["quantity"],
        "entry_prices": columns["entry_price"],
        "isolated_wallets": columns["isolated_wallet"],
        "leverages": columns["leverage"],
        "stop_prices": columns["stop_price"],
        "opened_ats": columns["opened_at"],
        "last_effective_ats": columns["last_effective_at"],
        "last_seqs": columns["last_seq"],
        "mark_prices": [None if one.mark is None else float(one.mark.price) for one in held],
        "mark_sequences": [None if one.mark is None else one.mark.sequence for one in held],
        "priced_ats": [None if one.mark is None else one.mark.source_at for one in held],
    }


# Column of the sealed book -> figure of the engine.
FIGURES = {
    "position_values": "value",
    "unrealised_pnls": "unrealised_pnl",
    "equities": "equity",
    "maintenance_margins": "maintenance_margin",
    "margin_ratios": "margin_ratio",
    "liquidation_prices": "liquidation_price",
    "bankruptcy_prices": "bankruptcy_price",
    "distance_ratios": "distance_ratio",
    "distance_sigmas": "distance_sigmas",
    "effective_leverages": "effective_leverage",
    "max_losses": "max_loss",
}
CODES = {"states": "state", "reasons": "reason", "liquidation_reasons": "liquidation_reason"}


def _figures(book: PastBook, places: list[int]) -> dict[str, list[Any]]:
    """The engine's figures as they were computed; what it could not know is NULL."""
    codes = {column: getattr(book.figures, name)[places].tolist() for column, name in CODES.items()}
    values = {column: getattr(book.figures, name)[places].tolist() for column, name in FIGURES.items()}
    return codes | {
        column: [None if value != value else value for value in found]  # noqa: PLR0124  # NaN
        for column, found in values.items()
    }
