"""Marks, tiers and risk state."""

import django.db.models.deletion
from django.db import migrations, models

import advisors.models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("advisors", "0001_initial"),
        ("portfolios", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="MarkIntake",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("venue", models.CharField(max_length=32)),
                ("symbol", models.CharField(max_length=40)),
                ("source", models.CharField(max_length=32)),
                ("sequence", models.BigIntegerField()),
                ("price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("low_price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("high_price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("source_at", models.DateTimeField()),
                ("posted_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="MarkPrice",
            fields=[
                (
                    "instrument",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        serialize=False,
                        to="portfolios.instrument",
                    ),
                ),
                ("price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("source", models.CharField(max_length=32)),
                ("sequence", models.BigIntegerField()),
                ("source_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("price__gt", 0), ("price__lt", 1000000000000000000)),
                        name="margin_markprice_price_positive",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Quarantine",
            fields=[
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("position_version", models.IntegerField()),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("error", models.CharField(blank=True, default="", max_length=200)),
                ("since", models.DateTimeField()),
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
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="RiskState",
            fields=[
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("client_id", models.BigIntegerField()),
                ("position_version", models.IntegerField()),
                ("mark_price", models.FloatField(null=True)),
                ("mark_sequence", models.BigIntegerField(null=True)),
                ("priced_at", models.DateTimeField(null=True)),
                ("computed_at", models.DateTimeField()),
                ("state", models.SmallIntegerField()),
                ("reason", models.SmallIntegerField()),
                ("liquidation_reason", models.SmallIntegerField()),
                ("value", models.FloatField(null=True)),
                ("unrealised_pnl", models.FloatField(null=True)),
                ("equity", models.FloatField(null=True)),
                ("maintenance_margin", models.FloatField(null=True)),
                ("margin_ratio", models.FloatField(null=True)),
                ("liquidation_price", models.FloatField(null=True)),
                ("bankruptcy_price", models.FloatField(null=True)),
                ("distance_ratio", models.FloatField(null=True)),
                ("effective_leverage", models.FloatField(null=True)),
                ("max_loss", models.FloatField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("reason", 0), ("state__gte", 0), ("state__lt", 5)),
                            models.Q(("reason__gt", 0), ("state", 5)),
                            _connector="OR",
                        ),
                        name="margin_riskstate_unknown_has_reason",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Tier",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("label", models.CharField(max_length=32)),
                ("symbol", models.CharField(max_length=40)),
                ("effective_from", models.DateField()),
                ("tier", models.PositiveSmallIntegerField()),
                ("floor", models.DecimalField(decimal_places=18, max_digits=38)),
                ("cap", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("maintenance_rate", models.DecimalField(decimal_places=18, max_digits=38)),
                ("maintenance_amount", models.DecimalField(decimal_places=18, max_digits=38)),
                ("max_leverage", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("source", models.CharField(max_length=300)),
                ("recorded_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("label", "symbol", "effective_from", "tier"), name="margin_tier_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("maintenance_rate__gte", 0), ("maintenance_rate__lt", 1)),
                        name="margin_tier_rate_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MarkTick",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source", models.CharField(max_length=32)),
                ("sequence", models.BigIntegerField()),
                ("price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("low_price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("high_price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("source_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
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
                "indexes": [models.Index(fields=["instrument", "source_at"], name="margin_marktick_history")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("instrument", "source", "sequence"), name="margin_marktick_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("price__gt", 0), ("price__lt", 1000000000000000000)),
                        name="margin_marktick_price_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("low_price__gt", 0), ("low_price__lt", 1000000000000000000)),
                        name="margin_marktick_low_price_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("high_price__gt", 0), ("high_price__lt", 1000000000000000000)),
                        name="margin_marktick_high_price_positive",
                    ),
                ],
            },
        ),
    ]
