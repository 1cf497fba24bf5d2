"""Instruments, accounts, portfolios, positions and their events."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

import advisors.models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("advisors", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportBatch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("public_id", models.UUIDField(default=uuid.uuid4)),
                ("file_name", models.CharField(max_length=120)),
                ("sha256", models.CharField(max_length=64)),
                ("content", models.TextField(blank=True, default="")),
                ("state", models.CharField(default="previewed", max_length=16)),
                ("rows", models.PositiveIntegerField(default=0)),
                ("opened", models.PositiveIntegerField(default=0)),
                ("unchanged", models.PositiveIntegerField(default=0)),
                ("uploaded_at", models.DateTimeField()),
                ("committed_at", models.DateTimeField(null=True)),
                (
                    "member",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="advisors.member",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Instrument",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("venue", models.CharField(max_length=32)),
                ("symbol", models.CharField(max_length=40)),
                ("base_asset", models.CharField(max_length=20)),
                ("quote_asset", models.CharField(max_length=20)),
                ("settle_asset", models.CharField(max_length=20)),
                ("kind", models.CharField(max_length=8)),
                ("contract_size", models.DecimalField(decimal_places=18, max_digits=38)),
                ("tick_size", models.DecimalField(decimal_places=18, max_digits=38)),
                ("tier_label", models.CharField(max_length=32)),
                ("tier_symbol", models.CharField(max_length=40)),
                ("source", models.CharField(max_length=300)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("venue", "symbol"), name="portfolios_instrument_once"),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["linear", "inverse", "quanto"])),
                        name="portfolios_instrument_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("contract_size__gt", 0), ("contract_size__lt", 1000000000000000000)
                        ),
                        name="portfolios_instrument_contract_size_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("tick_size__gt", 0), ("tick_size__lt", 1000000000000000000)),
                        name="portfolios_instrument_tick_size_positive",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LedgerHead",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("seq", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("firm_id",), name="portfolios_ledgerhead_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Portfolio",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("public_id", models.UUIDField(default=uuid.uuid4)),
                ("name", models.CharField(max_length=120)),
                ("created_at", models.DateTimeField()),
                (
                    "client",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="advisors.client",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Position",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("public_id", models.UUIDField(default=uuid.uuid4)),
                ("external_id", models.CharField(max_length=80)),
                ("side", models.CharField(max_length=5)),
                ("quantity", models.DecimalField(decimal_places=18, max_digits=38)),
                ("entry_price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("isolated_wallet", models.DecimalField(decimal_places=18, max_digits=38)),
                ("leverage", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("stop_price", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("opened_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                ("closed_by", models.CharField(blank=True, default="", max_length=16)),
                ("version", models.PositiveIntegerField()),
                (
                    "client",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="advisors.client",
                    ),
                ),
                (
                    "instrument",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="portfolios.instrument",
                    ),
                ),
                (
                    "portfolio",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="portfolios.portfolio",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="PositionEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("seq", models.BigIntegerField()),
                ("kind", models.CharField(max_length=16)),
                ("effective_at", models.DateTimeField()),
                ("recorded_at", models.DateTimeField()),
                ("source", models.CharField(max_length=16)),
                ("quantity", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("price", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("amount", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("leverage", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("note", models.CharField(blank=True, default="", max_length=500)),
                (
                    "author",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="advisors.member",
                    ),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="portfolios.importbatch",
                    ),
                ),
                (
                    "client",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="advisors.client",
                    ),
                ),
                (
                    "position",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="portfolios.position",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="VenueAccount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("public_id", models.UUIDField(default=uuid.uuid4)),
                ("venue", models.CharField(max_length=32)),
                ("label", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField()),
                (
                    "client",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="advisors.client",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="position",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="portfolios.venueaccount",
            ),
        ),
        migrations.AddIndex(
            model_name="importbatch",
            index=models.Index(fields=["firm_id", "-uploaded_at"], name="portfolios_importbatch_recent"),
        ),
        migrations.AddConstraint(
            model_name="importbatch",
            constraint=models.UniqueConstraint(
                fields=("firm_id", "public_id"), name="portfolios_importbatch_public"
            ),
        ),
        migrations.AddConstraint(
            model_name="portfolio",
            constraint=models.UniqueConstraint(
                fields=("firm_id", "public_id"), name="portfolios_portfolio_public"
            ),
        ),
        migrations.AddConstraint(
            model_name="portfolio",
            constraint=models.UniqueConstraint(
                fields=("firm_id", "client", "name"), name="portfolios_portfolio_name"
            ),
        ),
        migrations.AddIndex(
            model_name="positionevent",
            index=models.Index(
                fields=["firm_id", "position", "effective_at", "seq"], name="portfolios_event_fold"
            ),
        ),
        migrations.AddConstraint(
            model_name="positionevent",
            constraint=models.UniqueConstraint(fields=("firm_id", "seq"), name="portfolios_event_seq"),
        ),
        migrations.AddConstraint(
            model_name="positionevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "opened",
                            "increased",
                            "reduced",
                            "margin_added",
                            "margin_removed",
                            "stop_set",
                            "closed",
                            "liquidated",
                        ],
                    )
                ),
                name="portfolios_event_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="positionevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("quantity__isnull", True),
                    models.Q(("quantity__gt", 0), ("quantity__lt", 1000000000000000000)),
                    _connector="OR",
                ),
                name="portfolios_event_quantity_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="positionevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("price__isnull", True),
                    models.Q(("price__gt", 0), ("price__lt", 1000000000000000000)),
                    _connector="OR",
                ),
                name="portfolios_event_price_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="positionevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__isnull", True),
                    models.Q(("amount__gt", -1000000000000000000), ("amount__lt", 1000000000000000000)),
                    _connector="OR",
                ),
                name="portfolios_event_amount_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="venueaccount",
            constraint=models.UniqueConstraint(
                fields=("firm_id", "public_id"), name="portfolios_venueaccount_public"
            ),
        ),
        migrations.AddConstraint(
            model_name="venueaccount",
            constraint=models.UniqueConstraint(
                fields=("firm_id", "client", "venue", "label"), name="portfolios_venueaccount_label"
            ),
        ),
        migrations.AddIndex(
            model_name="position",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", True)),
                fields=["firm_id", "client"],
                name="portfolios_position_open",
            ),
        ),
        migrations.AddIndex(
            model_name="position",
            index=models.Index(fields=["firm_id", "portfolio"], name="portfolios_position_in"),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.UniqueConstraint(
                fields=("firm_id", "public_id"), name="portfolios_position_public"
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.UniqueConstraint(
                fields=("firm_id", "account", "external_id"), name="portfolios_position_external"
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(("side__in", ["long", "short"])), name="portfolios_position_side_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 0), ("quantity__lt", 1000000000000000000)),
                name="portfolios_position_quantity_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(("entry_price__gt", 0), ("entry_price__lt", 1000000000000000000)),
                name="portfolios_position_entry_price_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("isolated_wallet__gt", -1000000000000000000),
                    ("isolated_wallet__lt", 1000000000000000000),
                ),
                name="portfolios_position_isolated_wallet_finite",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("leverage__isnull", True),
                    models.Q(("leverage__gt", 0), ("leverage__lte", 1000)),
                    _connector="OR",
                ),
                name="portfolios_position_leverage_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("stop_price__isnull", True),
                    models.Q(("stop_price__gt", 0), ("stop_price__lt", 1000000000000000000)),
                    _connector="OR",
                ),
                name="portfolios_position_stop_sane",
            ),
        ),
    ]
