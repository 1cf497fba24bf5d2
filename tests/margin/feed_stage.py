"""A stage for several sources of one mark: ticks by source and second, and what is stored of them."""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from margin.models import MarkDoubt, MarkFeed, MarkPrice, MarkRefusal, MarkTick
from margin.services import MarkIn, ingest_marks
from tests.margin.past_feed import VENUE


class FeedStage:
    """Sources of BTCUSDT whose clocks begin five minutes ago."""

    def __init__(self):
        self.began = timezone.now() - timedelta(minutes=5)

    def tick(self, source, second, price, *, sequence=None, low=None, high=None, symbol="BTCUSDT"):
        value = Decimal(price)
        return MarkIn(
            venue=VENUE,
            symbol=symbol,
            source=source,
            sequence=int(second) if sequence is None else sequence,
            price=value,
            low_price=value if low is None else Decimal(low),
            high_price=value if high is None else Decimal(high),
            source_at=self.began + timedelta(seconds=second),
        )

    def send(self, *ticks):
        """Each as (source, second, price), in one batch."""
        return ingest_marks([self.tick(*tick) for tick in ticks])

    def send_one_by_one(self, *ticks):
        return [self.send(tick) for tick in ticks]


def price():
    return MarkPrice.objects.get(instrument__symbol="BTCUSDT").price


def dispute():
    mark = MarkPrice.objects.get(instrument__symbol="BTCUSDT")
    return mark.disputed_low, mark.disputed_high


def feeds():
    """(sequence, price, missed, epochs, suspects) by source."""
    return {
        feed.source: (feed.sequence, feed.price, feed.missed, feed.epochs, feed.suspect_marks)
        for feed in MarkFeed.objects.all()
    }


def open_doubts():
    return sorted(MarkDoubt.objects.filter(until_at=None).values_list("source", flat=True))


def refusals():
    """(source, reason): how many, over all hours and instruments."""
    found: dict[tuple[str, str], int] = {}
    for source, reason, marks in MarkRefusal.objects.values_list("source", "reason", "marks"):
        found[source, reason] = found.get((source, reason), 0) + marks
    return found


def kept_prices():
    return [tick.price for tick in MarkTick.objects.order_by("source_at", "sequence", "source")]
