"""What feeds say: marks, their history, where each source stands, and what could not be true."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Greatest, Least

from portfolios.models import LIMIT, Instrument, numeric, positive


class MarkPrice(models.Model):
    """Global: the newest mark of an instrument."""

    instrument = models.OneToOneField(Instrument, primary_key=True, on_delete=models.PROTECT)
    price = numeric()
    source = models.CharField(max_length=32)
    sequence = models.BigIntegerField()
    source_at = models.DateTimeField()
    received_at = models.DateTimeField()
    # Set while sources disagree: the lowest and the highest of what they say. A long counts at the lowest.
    disputed_low = numeric(null=True)
    disputed_high = numeric(null=True)

    class Meta:
        constraints = [positive("margin_markprice", "price")]


class MarkFeed(models.Model):
    """Global: the newest mark of an instrument from each source, and how well that source counts."""

    pk = models.CompositePrimaryKey("instrument", "source")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, db_index=False)
    source = models.CharField(max_length=32)
    sequence = models.BigIntegerField()
    price = numeric()
    source_at = models.DateTimeField()
    received_at = models.DateTimeField()
    # Sequence numbers that never came, and how often the source began to count anew.
    missed = models.BigIntegerField(default=0)
    epochs = models.IntegerField(default=0)
    # A jump not yet believed: the price, how many marks in a row agree with it, and since when.
    suspect_price = numeric(null=True)
    suspect_marks = models.PositiveSmallIntegerField(default=0)
    suspect_since = models.DateTimeField(null=True)

    class Meta:
        constraints = [positive("margin_markfeed", "price")]


class MarkRefusal(models.Model):
    """Global: marks that could not be true, counted by hour, source and reason, with the newest of them."""

    # None for an instrument that we do not list.
    instrument = models.ForeignKey(Instrument, null=True, on_delete=models.PROTECT, db_index=False)
    source = models.CharField(max_length=32)
    reason = models.CharField(max_length=80)
    hour_at = models.DateTimeField()
    marks = models.BigIntegerField()
    # As it was sent, cut to what fits.
    last_symbol = models.CharField(max_length=80)
    last_price = models.CharField(max_length=80)
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hour_at", "source", "reason", "instrument"],
                nulls_distinct=False,
                name="margin_markrefusal_once",
            )
        ]


class MarkDoubt(models.Model):
    """Global: from when to when a source told of a jump nobody believed yet; its instrument was unknown then."""

    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, db_index=False)
    source = models.CharField(max_length=32)
    price = numeric()
    since_at = models.DateTimeField()
    until_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["instrument", "since_at"], name="margin_markdoubt_asof")]
        constraints = [positive("margin_markdoubt", "price")]


class MarkTick(models.Model):
    """Global, append-only, by month: every mark taken in, with the worst prices since the one before."""

    # A feed that begins to count anew is heard again. In this order the key also finds the mark of a moment, and in
    # the database it carries when that was received, and the price.
    pk = models.CompositePrimaryKey("instrument", "source_at", "sequence", "source")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, db_index=False)
    source = models.CharField(max_length=32)
    sequence = models.BigIntegerField()
    price = numeric()
    low_price = numeric()
    high_price = numeric()
    source_at = models.DateTimeField()
    received_at = models.DateTimeField()
    # As MarkPrice had them when this tick came.
    disputed_low = numeric(null=True)
    disputed_high = numeric(null=True)

    class Meta:
        constraints = [
            positive("margin_marktick", "price"),
            positive("margin_marktick", "low_price"),
            positive("margin_marktick", "high_price"),
        ]


class MarkCandle(models.Model):
    """Global, append-only, by month: a minute of old ticks; what was received on another day has one of its own."""

    pk = models.CompositePrimaryKey(
        "instrument", "minute_at", "closed_at", "sequence", "source", "received_at"
    )
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, db_index=False)
    minute_at = models.DateTimeField()
    open_price = numeric()
    high_price = numeric()
    low_price = numeric()
    close_price = numeric()
    ticks = models.IntegerField()
    # Of the minute's last tick.
    source = models.CharField(max_length=32)
    sequence = models.BigIntegerField()
    closed_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            positive("margin_markcandle", "open_price"),
            positive("margin_markcandle", "high_price"),
            positive("margin_markcandle", "low_price"),
            positive("margin_markcandle", "close_price"),
        ]


class MarkIntake(models.Model):
    """Global: marks posted to the API, waiting for the worker; the web may only add here."""

    venue = models.CharField(max_length=32)
    symbol = models.CharField(max_length=40)
    source = models.CharField(max_length=32)
    sequence = models.BigIntegerField()
    price = numeric()
    low_price = numeric()
    high_price = numeric()
    source_at = models.DateTimeField()
    posted_at = models.DateTimeField()


class MarkHour(models.Model):
    """Global, append-only: an hour of marks that is over, from its ticks or from the venue's own candles."""

    pk = models.CompositePrimaryKey("instrument", "hour_at")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, db_index=False)
    hour_at = models.DateTimeField()
    open_price = numeric()
    high_price = numeric()
    low_price = numeric()
    close_price = numeric()
    source = models.CharField(max_length=300)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    low_price__gt=0,
                    low_price__lte=Least("open_price", "close_price"),
                    high_price__gte=Greatest("open_price", "close_price"),
                    high_price__lt=LIMIT,
                ),
                name="margin_markhour_prices_sane",
            ),
        ]
