"""What was computed: the state now, its changes, sealed days, and what could not be computed."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from advisors.models import TenantModel
from portfolios.models import ClientLinked, Position, numeric


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


class Quarantine(ClientLinked):
    """A position whose recompute failed three times running: unknown, with the reason, until it changes."""

    id = models.BigIntegerField(primary_key=True)
    position_version = models.IntegerField()
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True, default="")
    since = models.DateTimeField()
