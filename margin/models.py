"""Tables of marks, tiers and the risk state computed from them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Greatest, Least

from advisors.models import Member, TenantModel
from portfolios.models import LIMIT, ClientLinked, Instrument, Position, numeric, positive


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


class Tier(models.Model):
    """Global, append-only: one row of a venue's margin table, from a date on; of one date the last recorded holds."""

    label = models.CharField(max_length=32)
    symbol = models.CharField(max_length=40)
    effective_from = models.DateField()
    tier = models.PositiveSmallIntegerField()
    floor = numeric()
    cap = numeric(null=True)
    maintenance_rate = numeric()
    maintenance_amount = numeric()
    max_leverage = numeric(null=True)
    # Growth of the rate per unit of size, at venues whose rate is continuous.
    rate_slope = numeric(default=0, db_default=0)
    # The venue has tiers that this table leaves out.
    is_sample = models.BooleanField(default=False, db_default=False)
    source = models.CharField(max_length=300)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["label", "symbol", "effective_from", "recorded_at", "tier"], name="margin_tier_once"
            ),
            models.CheckConstraint(
                condition=Q(maintenance_rate__gte=0, maintenance_rate__lt=1), name="margin_tier_rate_sane"
            ),
        ]


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


class Volatility(models.Model):
    """Global, append-only: how much the mark of an instrument moves, as computed every hour from whole hours."""

    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, db_index=False)
    computed_at = models.DateTimeField()
    # The last hour taken in ended here.
    until_at = models.DateTimeField()
    days = models.PositiveSmallIntegerField()
    model_version = models.CharField(max_length=16)
    # Standard deviation of the log of the mark over a day: what distances and odds are measured with.
    daily_volatility = models.FloatField()
    # Each estimator's own, over a day; the range over a day as a share of the mark.
    close_close = models.FloatField(null=True)
    ewma = models.FloatField(null=True)
    parkinson = models.FloatField(null=True)
    garman_klass = models.FloatField(null=True)
    rogers_satchell = models.FloatField(null=True)
    yang_zhang = models.FloatField(null=True)
    average_true_range_ratio = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["instrument", "computed_at"], name="margin_volatility_once"),
            models.CheckConstraint(
                condition=Q(daily_volatility__gt=0, daily_volatility__lt=100), name="margin_volatility_sane"
            ),
        ]


class RiskLevels(TenantModel):
    """Append-only: from which maintenance used and which distance on the firm calls a position what; the last holds."""

    recorded_at = models.DateTimeField()
    author = models.ForeignKey(
        Member, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    reason = models.CharField(max_length=500)
    watch_ratio = models.FloatField()
    danger_ratio = models.FloatField()
    critical_ratio = models.FloatField()
    watch_sigmas = models.FloatField()
    danger_sigmas = models.FloatField()
    critical_sigmas = models.FloatField()
    watch_distance = models.FloatField()
    danger_distance = models.FloatField()
    critical_distance = models.FloatField()

    class Meta:
        indexes = [models.Index(fields=["firm_id", "recorded_at"], name="margin_risklevels_newest")]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    watch_ratio__gt=0,
                    danger_ratio__gte=F("watch_ratio"),
                    critical_ratio__gte=F("danger_ratio"),
                    critical_ratio__lt=1,
                ),
                name="margin_risklevels_ratio_sane",
            ),
            models.CheckConstraint(
                condition=Q(
                    critical_sigmas__gt=0,
                    danger_sigmas__gte=F("critical_sigmas"),
                    watch_sigmas__gte=F("danger_sigmas"),
                    watch_sigmas__lt=100,
                ),
                name="margin_risklevels_sigmas_sane",
            ),
            models.CheckConstraint(
                condition=Q(
                    critical_distance__gt=0,
                    danger_distance__gte=F("critical_distance"),
                    watch_distance__gte=F("danger_distance"),
                    watch_distance__lt=1,
                ),
                name="margin_risklevels_distance_sane",
            ),
        ]


class FundingRate(models.Model):
    """Global: what a venue paid at one of its own payment times; longs pay shorts where the rate is above zero."""

    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, db_index=False)
    paid_at = models.DateTimeField()
    rate = numeric()
    # The mark it was paid at; none until one is known, and until then nobody books it.
    mark_price = numeric(null=True)
    source = models.CharField(max_length=300)
    received_at = models.DateTimeField()
    # In the order in which rates became bookable: how far a firm has booked is one number.
    booking_seq = models.BigIntegerField(null=True, unique=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["instrument", "paid_at"], name="margin_fundingrate_once"),
            models.CheckConstraint(condition=Q(rate__gt=-1, rate__lt=1), name="margin_fundingrate_rate_sane"),
            models.CheckConstraint(
                condition=Q(mark_price__isnull=True) | Q(mark_price__gt=0, mark_price__lt=LIMIT),
                name="margin_fundingrate_mark_sane",
            ),
        ]


class FundingHead(TenantModel):
    """How far a firm has booked the payments of its positions."""

    booked_seq = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["firm_id"], name="margin_fundinghead_once")]


class SealedDay(TenantModel):
    """Append-only: a business day of the firm as it stood when it ended, and what it was computed with."""

    day = models.DateField()
    # The moment the day ended in the firm's time zone: the book as of then is the one sealed.
    as_of = models.DateTimeField()
    sealed_at = models.DateTimeField()
    last_seq = models.BigIntegerField()
    positions = models.PositiveIntegerField()
    unknown = models.PositiveIntegerField()
    engine_version = models.CharField(max_length=32)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["firm_id", "day"], name="margin_sealedday_once")]


class SealedBook(ClientLinked):
    """Append-only: a client's open positions on a sealed day, one element of each array a position."""

    day = models.DateField()
    as_of = models.DateTimeField()
    positions = ArrayField(models.BigIntegerField())
    versions = ArrayField(models.IntegerField())
    quantities = ArrayField(numeric())
    entry_prices = ArrayField(numeric())
    isolated_wallets = ArrayField(numeric())
    leverages = ArrayField(numeric(null=True))
    stop_prices = ArrayField(numeric(null=True))
    opened_ats = ArrayField(models.DateTimeField())
    last_effective_ats = ArrayField(models.DateTimeField())
    last_seqs = ArrayField(models.BigIntegerField())
    states = ArrayField(models.SmallIntegerField())
    reasons = ArrayField(models.SmallIntegerField())
    liquidation_reasons = ArrayField(models.SmallIntegerField())
    mark_prices = ArrayField(models.FloatField(null=True))
    mark_sequences = ArrayField(models.BigIntegerField(null=True))
    priced_ats = ArrayField(models.DateTimeField(null=True))
    # Figures of the engine under their own names.
    position_values = ArrayField(models.FloatField(null=True))
    unrealised_pnls = ArrayField(models.FloatField(null=True))
    equities = ArrayField(models.FloatField(null=True))
    maintenance_margins = ArrayField(models.FloatField(null=True))
    margin_ratios = ArrayField(models.FloatField(null=True))
    liquidation_prices = ArrayField(models.FloatField(null=True))
    bankruptcy_prices = ArrayField(models.FloatField(null=True))
    distance_ratios = ArrayField(models.FloatField(null=True))
    # None in days sealed before volatility was measured.
    distance_sigmas = ArrayField(models.FloatField(null=True), null=True)
    effective_leverages = ArrayField(models.FloatField(null=True))
    max_losses = ArrayField(models.FloatField(null=True))

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "client", "day"], name="margin_sealedbook_once")
        ]


class RiskState(TenantModel):
    """A cache, one row a position (id is the position's): rebuilt at any time, a missing row is 'not computed yet'."""

    id = models.BigIntegerField(primary_key=True)
    client_id = models.BigIntegerField()
    position_version = models.IntegerField()
    mark_price = models.FloatField(null=True)
    mark_sequence = models.BigIntegerField(null=True)
    priced_at = models.DateTimeField(null=True)
    # How old the mark may get; 0 of a row that was not written since there is such a limit.
    mark_age_limit_seconds = models.SmallIntegerField(default=0, db_default=0)
    daily_volatility = models.FloatField(null=True)
    computed_at = models.DateTimeField()
    state = models.SmallIntegerField()
    reason = models.SmallIntegerField()
    liquidation_reason = models.SmallIntegerField()
    value = models.FloatField(null=True)
    unrealised_pnl = models.FloatField(null=True)
    equity = models.FloatField(null=True)
    maintenance_margin = models.FloatField(null=True)
    margin_ratio = models.FloatField(null=True)
    liquidation_price = models.FloatField(null=True)
    bankruptcy_price = models.FloatField(null=True)
    distance_ratio = models.FloatField(null=True)
    distance_sigmas = models.FloatField(null=True)
    effective_leverage = models.FloatField(null=True)
    max_loss = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__gte=0, state__lt=5, reason=0) | Q(state=5, reason__gt=0),
                name="margin_riskstate_unknown_has_reason",
            ),
        ]


class Quarantine(ClientLinked):
    """A position whose recompute failed three times running: unknown, with the reason, until it changes."""

    id = models.BigIntegerField(primary_key=True)
    position_version = models.IntegerField()
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True, default="")
    since = models.DateTimeField()


class StateChange(ClientLinked):
    """Append-only: a sweep found a position in another state than before, at its mark or at the worst since then."""

    position = models.ForeignKey(Position, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    position_version = models.IntegerField()
    # The moment of the sweep's market.
    at = models.DateTimeField()
    # None before the first.
    was = models.SmallIntegerField(null=True)
    state = models.SmallIntegerField()
    # Seen at the worst mark between two sweeps and left again by the second.
    is_wick = models.BooleanField(default=False)
    mark_price = models.FloatField(null=True)
    mark_at = models.DateTimeField(null=True)
    margin_ratio = models.FloatField(null=True)
    distance_ratio = models.FloatField(null=True)
    distance_sigmas = models.FloatField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["firm_id", "position", "-at", "-id"], name="margin_statechange_newest"),
            models.Index(fields=["firm_id", "at"], name="margin_statechange_since"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__gte=0, state__lt=6), name="margin_statechange_state_known"
            ),
        ]
