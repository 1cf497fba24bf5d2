"""Tables of marks, tiers and the risk state computed from them."""

from django.db import models
from django.db.models import Q

from advisors.models import TenantModel
from portfolios.models import ClientLinked, Instrument, numeric, positive


class MarkPrice(models.Model):
    """Global: the newest mark of an instrument."""

    instrument = models.OneToOneField(Instrument, primary_key=True, on_delete=models.PROTECT)
    price = numeric()
    source = models.CharField(max_length=32)
    sequence = models.BigIntegerField()
    source_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        constraints = [positive("margin_markprice", "price")]


class MarkTick(models.Model):
    """Global, append-only: every mark taken in, with the worst prices since the one before."""

    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, db_index=False)
    source = models.CharField(max_length=32)
    sequence = models.BigIntegerField()
    price = numeric()
    low_price = numeric()
    high_price = numeric()
    source_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["instrument", "source", "sequence"], name="margin_marktick_once"),
            positive("margin_marktick", "price"),
            positive("margin_marktick", "low_price"),
            positive("margin_marktick", "high_price"),
        ]
        indexes = [models.Index(fields=["instrument", "source_at"], name="margin_marktick_history")]


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
    """Global: one row of a venue's margin table, from a date on."""

    label = models.CharField(max_length=32)
    symbol = models.CharField(max_length=40)
    effective_from = models.DateField()
    tier = models.PositiveSmallIntegerField()
    floor = numeric()
    cap = numeric(null=True)
    maintenance_rate = numeric()
    maintenance_amount = numeric()
    max_leverage = numeric(null=True)
    source = models.CharField(max_length=300)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["label", "symbol", "effective_from", "tier"], name="margin_tier_once"
            ),
            models.CheckConstraint(
                condition=Q(maintenance_rate__gte=0, maintenance_rate__lt=1), name="margin_tier_rate_sane"
            ),
        ]


class RiskState(TenantModel):
    """A cache, one row a position (id is the position's): rebuilt at any time, a missing row is 'not computed yet'."""

    id = models.BigIntegerField(primary_key=True)
    client_id = models.BigIntegerField()
    position_version = models.IntegerField()
    mark_price = models.FloatField(null=True)
    mark_sequence = models.BigIntegerField(null=True)
    priced_at = models.DateTimeField(null=True)
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
