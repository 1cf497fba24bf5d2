"""Funding as venues pay it, and business days as they stood when they ended."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import advisors.models
from config.db.wall import narrow_grants, tenant_table

READERS = ("advisor", "compliance", "system")


class Migration(migrations.Migration):
    dependencies = [
        ("advisors", "0004_profiles"),
        ("margin", "0002_wall"),
        ("portfolios", "0003_whole_story"),
    ]

    operations = [
        migrations.CreateModel(
            name="FundingHead",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("booked_seq", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("firm_id",), name="margin_fundinghead_once")],
            },
        ),
        migrations.CreateModel(
            name="SealedDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("day", models.DateField()),
                ("as_of", models.DateTimeField()),
                ("sealed_at", models.DateTimeField()),
                ("last_seq", models.BigIntegerField()),
                ("positions", models.PositiveIntegerField()),
                ("unknown", models.PositiveIntegerField()),
                ("engine_version", models.CharField(max_length=32)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("firm_id", "day"), name="margin_sealedday_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="FundingRate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("paid_at", models.DateTimeField()),
                ("rate", models.DecimalField(decimal_places=18, max_digits=38)),
                ("mark_price", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("source", models.CharField(max_length=300)),
                ("received_at", models.DateTimeField()),
                ("booking_seq", models.BigIntegerField(null=True, unique=True)),
                (
                    "instrument",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="portfolios.instrument",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("instrument", "paid_at"), name="margin_fundingrate_once"),
                    models.CheckConstraint(
                        condition=models.Q(("rate__gt", -1), ("rate__lt", 1)),
                        name="margin_fundingrate_rate_sane",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("mark_price__isnull", True),
                            models.Q(("mark_price__gt", 0), ("mark_price__lt", 1000000000000000000)),
                            _connector="OR",
                        ),
                        name="margin_fundingrate_mark_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SealedBook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("day", models.DateField()),
                ("as_of", models.DateTimeField()),
                (
                    "positions",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                ),
                (
                    "versions",
                    django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None),
                ),
                (
                    "quantities",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DecimalField(decimal_places=18, max_digits=38), size=None
                    ),
                ),
                (
                    "entry_prices",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DecimalField(decimal_places=18, max_digits=38), size=None
                    ),
                ),
                (
                    "isolated_wallets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DecimalField(decimal_places=18, max_digits=38), size=None
                    ),
                ),
                (
                    "leverages",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DecimalField(decimal_places=18, max_digits=38, null=True), size=None
                    ),
                ),
                (
                    "stop_prices",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DecimalField(decimal_places=18, max_digits=38, null=True), size=None
                    ),
                ),
                (
                    "opened_ats",
                    django.contrib.postgres.fields.ArrayField(base_field=models.DateTimeField(), size=None),
                ),
                (
                    "last_effective_ats",
                    django.contrib.postgres.fields.ArrayField(base_field=models.DateTimeField(), size=None),
                ),
                (
                    "last_seqs",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                ),
                (
                    "states",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.SmallIntegerField(), size=None
                    ),
                ),
                (
                    "reasons",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.SmallIntegerField(), size=None
                    ),
                ),
                (
                    "liquidation_reasons",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.SmallIntegerField(), size=None
                    ),
                ),
                (
                    "mark_prices",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "mark_sequences",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(null=True), size=None
                    ),
                ),
                (
                    "priced_ats",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DateTimeField(null=True), size=None
                    ),
                ),
                (
                    "position_values",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "unrealised_pnls",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "equities",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "maintenance_margins",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "margin_ratios",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "liquidation_prices",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "bankruptcy_prices",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "distance_ratios",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "effective_leverages",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
                    ),
                ),
                (
                    "max_losses",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), size=None
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
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("firm_id", "client", "day"), name="margin_sealedbook_once"
                    )
                ],
            },
        ),
        narrow_grants("margin_fundingrate", web="SELECT", worker="SELECT, INSERT, UPDATE"),
        tenant_table("margin_fundinghead", writers=("system",), readers=READERS),
        narrow_grants("margin_fundinghead", web="SELECT"),
        tenant_table("margin_sealedday", writers=("system",), readers=READERS),
        narrow_grants("margin_sealedday", web="SELECT", worker="SELECT, INSERT"),
        tenant_table(
            "margin_sealedbook",
            client="client_id",
            writers=("system",),
            foreign_keys={"client_id": "advisors_client"},
        ),
        narrow_grants("margin_sealedbook", web="SELECT", worker="SELECT, INSERT"),
    ]
