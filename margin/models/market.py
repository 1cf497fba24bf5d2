"""What positions are measured with besides their marks: tiers, volatility, levels and funding."""

from django.db import models
from django.db.models import F, Q

from advisors.models import Member, TenantModel
from portfolios.models import LIMIT, Instrument, numeric


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
