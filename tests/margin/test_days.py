"""Sealed days: each ends by the firm's own clocks, is written once, made up after a pause, and never changed."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest
from django.db import transaction
from django.utils import timezone

from advisors.jobs import firm_scope
from advisors.scope import open_scope
from margin.models import SealedBook, SealedDay
from margin.selectors.days import list_sealed_days
from margin.services.days import DAYS_PER_RUN, end_of_day, seal_due_days
from margin.tasks import housekeeping
from tests.cast import CastFirm
from tests.conftest import signed_in_as
from tests.margin.priced_book import Book
from tests.margin.risk_rows import change, rows_of


def seal(now: datetime) -> int:
    with signed_in_as("worker"):
        return seal_due_days(now)


def days_of(firm: CastFirm) -> list[SealedDay]:
    with signed_in_as("worker"), firm_scope(firm.id):
        return list(SealedDay.objects.order_by("day"))


def books_of(firm: CastFirm, day: date) -> dict[int, SealedBook]:
    with signed_in_as("worker"), firm_scope(firm.id):
        return {row.client_id: row for row in SealedBook.objects.filter(day=day)}


@pytest.mark.parametrize(
    ("day", "zone", "end"),
    [
        (date(2026, 3, 28), "Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC)),
        (date(2026, 3, 29), "Europe/Berlin", datetime(2026, 3, 29, 22, tzinfo=UTC)),
        (date(2026, 10, 25), "Europe/Berlin", datetime(2026, 10, 25, 23, tzinfo=UTC)),
        (date(2026, 11, 22), "Asia/Tokyo", datetime(2026, 11, 22, 15, tzinfo=UTC)),
        (date(2026, 11, 22), "America/New_York", datetime(2026, 11, 23, 5, tzinfo=UTC)),
        # Here the clocks go forward at midnight, so the day after begins at one.
        (date(2026, 9, 5), "America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
    ],
)
def test_day_ends_when_the_firms_clocks_say(day: date, zone: str, end: datetime) -> None:
    assert end_of_day(day, ZoneInfo(zone)) == end


def test_each_firm_is_sealed_by_its_own_clocks(book: Book, superuser: "psycopg.Connection") -> None:
    ends = {}
    # Their days end an hour apart, whatever the time of the year.
    for firm, zone in ((book.cast.ours, "Pacific/Pago_Pago"), (book.cast.theirs, "Pacific/Honolulu")):
        superuser.execute("UPDATE advisors_firm SET time_zone = %s WHERE id = %s", [zone, firm.id])
        ends[firm] = end_of_day(timezone.now().astimezone(ZoneInfo(zone)).date(), ZoneInfo(zone))
    earlier, later = sorted(ends, key=lambda firm: ends[firm])
    assert ends[later] - ends[earlier] >= timedelta(hours=1)
    assert seal(ends[earlier]) == 0
    assert seal(ends[earlier] + timedelta(minutes=1)) == 1
    assert [row.as_of for row in days_of(earlier)] == [ends[earlier]]
    assert days_of(later) == []


def test_days_missed_are_made_up_and_sealed_once(book: Book) -> None:
    later = timezone.now() + timedelta(days=DAYS_PER_RUN + 5)
    assert seal(later) == 2 * DAYS_PER_RUN
    assert seal(later) == 2 * 5
    assert seal(later) == 0
    days = [row.day for row in days_of(book.cast.ours)]
    first = timezone.now().date()
    assert days == [first + timedelta(days=offset) for offset in range(DAYS_PER_RUN + 5)]


def test_firm_without_events_has_no_days(cast) -> None:
    assert seal(timezone.now() + timedelta(days=3)) == 0


def test_sealed_figures_are_those_of_the_sweep(book: Book) -> None:
    assert seal(timezone.now() + timedelta(days=1)) == 2
    swept = rows_of(book.cast.ours)
    today = timezone.now().date()
    sealed = {
        position: (row, place)
        for row in books_of(book.cast.ours, today).values()
        for place, position in enumerate(row.positions)
    }
    assert len(sealed) == len(swept) == 3
    for risk in swept.values():
        row, place = sealed[risk.id]
        assert row.states[place] == risk.state
        assert row.versions[place] == risk.position_version
        assert row.mark_sequences[place] == risk.mark_sequence
        for column, name in (
            ("margin_ratios", "margin_ratio"),
            ("liquidation_prices", "liquidation_price"),
            ("equities", "equity"),
            ("position_values", "value"),
            ("max_losses", "max_loss"),
        ):
            assert getattr(row, column)[place] == getattr(risk, name), name


def test_what_is_recorded_after_the_day_does_not_change_it(book: Book) -> None:
    ended = timezone.now() + timedelta(days=1)
    seal(ended)
    before = [
        row.__dict__ | {"_state": None} for row in books_of(book.cast.ours, timezone.now().date()).values()
    ]
    change(book, "healthy", "margin_added", amount=100)
    assert seal(ended) == 0
    after = [
        row.__dict__ | {"_state": None} for row in books_of(book.cast.ours, timezone.now().date()).values()
    ]
    assert after == before


def test_sealed_rows_cannot_be_changed_by_the_worker(book: Book) -> None:
    seal(timezone.now() + timedelta(days=1))
    for statement in ("UPDATE margin_sealedbook SET states = '{}'", "DELETE FROM margin_sealedday"):
        with (
            signed_in_as("worker"),
            pytest.raises(Exception, match="permission denied"),
            firm_scope(book.cast.ours.id),
        ):
            from_connection(statement)


def from_connection(statement: str) -> None:
    with transaction.get_connection().cursor() as cursor:
        cursor.execute(statement)


def test_firm_that_fails_keeps_no_other_waiting(book: Book, superuser: "psycopg.Connection") -> None:
    superuser.execute(
        "UPDATE advisors_firm SET time_zone = 'Nowhere/At_All' WHERE id = %s", [book.cast.ours.id]
    )
    assert seal(timezone.now() + timedelta(days=1)) == 1
    assert days_of(book.cast.ours) == []
    assert len(days_of(book.cast.theirs)) == 1


def test_list_of_days_counts_what_the_reader_may_see(book: Book) -> None:
    seal(timezone.now() + timedelta(days=2))
    ours = book.cast.ours
    for role, positions in (("advisor", 2), ("colleague", 1), ("compliance", 3)):
        with open_scope(ours.scope(role)), transaction.atomic():
            days = list_sealed_days()
        assert [row.positions for row in days] == [positions, positions], role
        assert [row.day for row in days] == sorted((row.day for row in days), reverse=True)
        assert all(row.is_current_engine and row.unknown == 0 for row in days)
    with open_scope(book.cast.theirs.scope("advisor")), transaction.atomic():
        assert [row.positions for row in list_sealed_days(limit=1)] == [1]


def test_every_sealing_is_in_the_audit_trail(book: Book, superuser: "psycopg.Connection") -> None:
    seal(timezone.now() + timedelta(days=1))
    found = superuser.execute(
        "SELECT firm_id, after ->> 'positions' FROM advisors_auditentry WHERE action = 'day sealed' ORDER BY firm_id"
    ).fetchall()
    assert found == [(book.cast.ours.id, "3"), (book.cast.theirs.id, "1")]


def test_housekeeping_makes_partitions_and_seals(book: Book, superuser: "psycopg.Connection") -> None:
    superuser.execute("UPDATE portfolios_positionevent SET recorded_at = recorded_at - interval '2 days'")
    with signed_in_as("worker"):
        assert housekeeping.run(by="test") == 4
        assert housekeeping.run(by="test") == 0
    assert len(days_of(book.cast.ours)) == len(days_of(book.cast.theirs)) == 2
