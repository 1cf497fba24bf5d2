"""Tables of what clients hold: instruments, accounts, portfolios, positions and the events they are folded from."""

import uuid
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from advisors.models import Client, Member, TenantModel
from portfolios.fold import KINDS

# Two-sided bounds, because Postgres sorts NaN above every number and accepts it for x > 0.
LIMIT = 10**18


def numeric(**options: Any) -> "models.DecimalField[Any, Any]":
    return models.DecimalField(max_digits=38, decimal_places=18, **options)


def positive(table: str, column: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        condition=Q(**{f"{column}__gt": 0, f"{column}__lt": LIMIT}), name=f"{table}_{column}_positive"
    )


def finite(table: str, column: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        condition=Q(**{f"{column}__gt": -LIMIT, f"{column}__lt": LIMIT}), name=f"{table}_{column}_finite"
    )


class Instrument(models.Model):
    """Global: a contract as a venue lists it."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True)
    venue = models.CharField(max_length=32)
    symbol = models.CharField(max_length=40)
    base_asset = models.CharField(max_length=20)
    quote_asset = models.CharField(max_length=20)
    settle_asset = models.CharField(max_length=20)
    kind = models.CharField(max_length=8)
    contract_size = numeric()
    tick_size = numeric()
    tier_label = models.CharField(max_length=32)
    tier_symbol = models.CharField(max_length=40)
    source = models.CharField(max_length=300)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["venue", "symbol"], name="portfolios_instrument_once"),
            models.CheckConstraint(
                condition=Q(kind__in=["linear", "inverse", "quanto"]), name="portfolios_instrument_kind_known"
            ),
            positive("portfolios_instrument", "contract_size"),
            positive("portfolios_instrument", "tick_size"),
        ]

    def __str__(self) -> str:
        return f"{self.venue} {self.symbol}"


class ClientLinked(TenantModel):
    """A row about one client: seen by those who answer for the client and by compliance."""

    client = models.ForeignKey(Client, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)

    class Meta:
        abstract = True


class Portfolio(ClientLinked):
    public_id = models.UUIDField(default=uuid.uuid4)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "public_id"], name="portfolios_portfolio_public"),
            models.UniqueConstraint(fields=["firm_id", "client", "name"], name="portfolios_portfolio_name"),
        ]


class VenueAccount(ClientLinked):
    public_id = models.UUIDField(default=uuid.uuid4)
    venue = models.CharField(max_length=32)
    label = models.CharField(max_length=80)
    # The venue tops its positions up from the free balance: what stands here is not isolated.
    auto_margin = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "public_id"], name="portfolios_venueaccount_public"),
            models.UniqueConstraint(
                fields=["firm_id", "client", "venue", "label"], name="portfolios_venueaccount_label"
            ),
        ]


class AccountBalance(ClientLinked):
    """Append-only: what of an account stands behind no position, as somebody read it at the venue."""

    account = models.ForeignKey(
        VenueAccount, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    asset = models.CharField(max_length=20)
    free_collateral = numeric()
    # When it stood so at the venue; the newest holds.
    balance_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    author = models.ForeignKey(
        Member, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    source = models.CharField(max_length=32)

    class Meta:
        indexes = [
            models.Index(
                fields=["firm_id", "account", "asset", "-balance_at", "-recorded_at"],
                name="portfolios_balance_newest",
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(free_collateral__gte=0, free_collateral__lt=LIMIT),
                name="portfolios_balance_sane",
            ),
        ]


class LedgerHead(TenantModel):
    """The last sequence number of a firm's ledger; locking it orders the appends."""

    seq = models.BigIntegerField(default=0)
    recorded_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["firm_id"], name="portfolios_ledgerhead_once")]


class ImportProfile(TenantModel):
    """How a firm reads the files of one source: known again by the fingerprint of their header."""

    public_id = models.UUIDField(default=uuid.uuid4)
    member = models.ForeignKey(Member, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=16)
    venue = models.CharField(max_length=32, blank=True, default="")
    fingerprint = models.CharField(max_length=64)
    # Column of ours -> column of the file, or {"value": what every row has}.
    mapping = models.JSONField()
    time_zone = models.CharField(max_length=64, blank=True, default="")
    decimal_mark = models.CharField(max_length=1, default=".")
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "public_id"], name="portfolios_importprofile_public"),
            models.UniqueConstraint(
                fields=["firm_id", "name"],
                condition=Q(retired_at__isnull=True),
                name="portfolios_importprofile_name",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["positions", "events", "clients"]),
                name="portfolios_importprofile_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(decimal_mark__in=[".", ","]), name="portfolios_importprofile_decimal_mark"
            ),
        ]


class ImportBatch(TenantModel):
    """One file taken in: by whom, its digest and how much it wrote."""

    public_id = models.UUIDField(default=uuid.uuid4)
    member = models.ForeignKey(
        Member, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    file_name = models.CharField(max_length=120)
    sha256 = models.CharField(max_length=64)
    content = models.TextField(blank=True, default="")
    kind = models.CharField(max_length=16, default="positions")
    # How the content was read: format, mapping, time_zone, decimal_mark.
    reading = models.JSONField(default=dict)
    state = models.CharField(max_length=16, default="previewed")
    rows = models.PositiveIntegerField(default=0)
    opened = models.PositiveIntegerField(default=0)
    appended = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    uploaded_at = models.DateTimeField()
    committed_at = models.DateTimeField(null=True)
    undone_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "public_id"], name="portfolios_importbatch_public")
        ]
        indexes = [models.Index(fields=["firm_id", "-uploaded_at"], name="portfolios_importbatch_recent")]


class Position(ClientLinked):
    """The fold of a position's events, written with them and never apart from them."""

    public_id = models.UUIDField(default=uuid.uuid4)
    portfolio = models.ForeignKey(Portfolio, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    account = models.ForeignKey(
        VenueAccount, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, db_index=False)
    external_id = models.CharField(max_length=80)
    side = models.CharField(max_length=5)
    quantity = numeric()
    entry_price = numeric()
    isolated_wallet = numeric()
    leverage = numeric(null=True)
    stop_price = numeric(null=True)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=16, blank=True, default="")
    version = models.PositiveIntegerField()
    # Where its last standing event is, and when the newest of all was recorded: from there the fold goes on.
    last_effective_at = models.DateTimeField()
    last_seq = models.BigIntegerField()
    last_recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "public_id"], name="portfolios_position_public"),
            models.UniqueConstraint(
                fields=["firm_id", "account", "external_id"], name="portfolios_position_external"
            ),
            models.CheckConstraint(
                condition=Q(side__in=["long", "short"]), name="portfolios_position_side_known"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=0, quantity__lt=LIMIT), name="portfolios_position_quantity_sane"
            ),
            positive("portfolios_position", "entry_price"),
            finite("portfolios_position", "isolated_wallet"),
            models.CheckConstraint(
                condition=Q(leverage__isnull=True) | Q(leverage__gt=0, leverage__lte=1000),
                name="portfolios_position_leverage_sane",
            ),
            models.CheckConstraint(
                condition=Q(stop_price__isnull=True) | Q(stop_price__gt=0, stop_price__lt=LIMIT),
                name="portfolios_position_stop_sane",
            ),
        ]
        indexes = [
            models.Index(
                fields=["firm_id", "client"],
                condition=Q(closed_at__isnull=True),
                name="portfolios_position_open",
            ),
            models.Index(fields=["firm_id", "portfolio"], name="portfolios_position_in"),
        ]


class PositionEvent(ClientLinked):
    """Append-only: what happened to a position, when it happened and when we learnt of it."""

    position = models.ForeignKey(Position, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=16)
    effective_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    source = models.CharField(max_length=16)
    author = models.ForeignKey(
        Member, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    batch = models.ForeignKey(
        ImportBatch, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    quantity = numeric(null=True)
    price = numeric(null=True)
    amount = numeric(null=True)
    leverage = numeric(null=True)
    rate = numeric(null=True)
    # seq of the event of the same position that this one corrects or takes back.
    replaces_seq = models.BigIntegerField(null=True)
    # What the venue calls it, where a file said so: no part of the fold, by it the event is known again.
    venue_event_id = models.CharField(max_length=80, blank=True, default="", db_default="")
    note = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["firm_id", "seq"], name="portfolios_event_seq"),
            # An event is corrected once; what corrects the correction names that one.
            models.UniqueConstraint(
                fields=["firm_id", "replaces_seq"],
                condition=Q(replaces_seq__isnull=False),
                name="portfolios_event_replaced_once",
            ),
            models.UniqueConstraint(
                fields=["firm_id", "position", "effective_at"],
                condition=Q(kind="funding", source="computed"),
                name="portfolios_event_funding_once",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=list(KINDS)),
                name="portfolios_event_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(kind="voided", replaces_seq__isnull=False) | ~Q(kind="voided"),
                name="portfolios_event_void_of_something",
            ),
            models.CheckConstraint(
                condition=Q(rate__isnull=True) | Q(rate__gt=-LIMIT, rate__lt=LIMIT),
                name="portfolios_event_rate_sane",
            ),
            models.CheckConstraint(
                condition=Q(quantity__isnull=True) | Q(quantity__gt=0, quantity__lt=LIMIT),
                name="portfolios_event_quantity_sane",
            ),
            models.CheckConstraint(
                condition=Q(price__isnull=True) | Q(price__gt=0, price__lt=LIMIT),
                name="portfolios_event_price_sane",
            ),
            models.CheckConstraint(
                condition=Q(amount__isnull=True) | Q(amount__gt=-LIMIT, amount__lt=LIMIT),
                name="portfolios_event_amount_sane",
            ),
        ]
        indexes = [
            models.Index(fields=["firm_id", "position", "effective_at", "seq"], name="portfolios_event_fold"),
            # As of a moment only what was recorded since the last sealed day is folded.
            models.Index(fields=["firm_id", "recorded_at"], name="portfolios_event_recorded"),
        ]


class PositionAnnotation(ClientLinked):
    """Append-only: what an advisor thinks of a position; the newest row's tags and conviction are in force."""

    position = models.ForeignKey(Position, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    author = models.ForeignKey(
        Member, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    recorded_at = models.DateTimeField()
    tags = ArrayField(models.CharField(max_length=40), default=list)
    conviction = models.PositiveSmallIntegerField(null=True)
    note = models.CharField(max_length=2000, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(conviction__isnull=True) | Q(conviction__gte=1, conviction__lte=5),
                name="portfolios_annotation_conviction_known",
            ),
        ]
        indexes = [
            models.Index(fields=["firm_id", "position", "-recorded_at"], name="portfolios_annotation_newest")
        ]
