"""Rates that grow with size, tiers corrected by a later version, volatility, and levels a firm sets."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.comparison
from django.db import migrations, models

import advisors.models
from config.db.wall import narrow_grants, tenant_table

# Shipped so far with some of their tiers only, which was known by their names; the rows say so from now on.
MARK_SAMPLES = """
UPDATE margin_tier SET is_sample = true WHERE (label, symbol) IN
(('binance_coinm', 'BTCUSD'), ('bybit_linear', 'BTCUSDT'))
"""


class Migration(migrations.Migration):
    dependencies = [
        ("advisors", "0004_profiles"),
        ("margin", "0004_history"),
        ("portfolios", "0004_venue_event_id"),
    ]

    operations = [
        migrations.CreateModel(
            name="MarkHour",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "instrument", "hour_at", blank=True, editable=False, primary_key=True, serialize=False
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
                ("hour_at", models.DateTimeField()),
                ("open_price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("high_price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("low_price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("close_price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("source", models.CharField(max_length=300)),
                ("recorded_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="RiskLevels",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("recorded_at", models.DateTimeField()),
                ("reason", models.CharField(max_length=500)),
                ("watch_ratio", models.FloatField()),
                ("danger_ratio", models.FloatField()),
                ("critical_ratio", models.FloatField()),
                ("watch_sigmas", models.FloatField()),
                ("danger_sigmas", models.FloatField()),
                ("critical_sigmas", models.FloatField()),
                ("watch_distance", models.FloatField()),
                ("danger_distance", models.FloatField()),
                ("critical_distance", models.FloatField()),
            ],
        ),
        migrations.CreateModel(
            name="Volatility",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
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
                ("computed_at", models.DateTimeField()),
                ("until_at", models.DateTimeField()),
                ("days", models.PositiveSmallIntegerField()),
                ("model_version", models.CharField(max_length=16)),
                ("daily_volatility", models.FloatField()),
                ("close_close", models.FloatField(null=True)),
                ("ewma", models.FloatField(null=True)),
                ("parkinson", models.FloatField(null=True)),
                ("garman_klass", models.FloatField(null=True)),
                ("rogers_satchell", models.FloatField(null=True)),
                ("yang_zhang", models.FloatField(null=True)),
                ("average_true_range_ratio", models.FloatField(null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="tier",
            name="margin_tier_once",
        ),
        migrations.AddField(
            model_name="riskstate",
            name="daily_volatility",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="riskstate",
            name="distance_sigmas",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="sealedbook",
            name="distance_sigmas",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.FloatField(null=True), null=True, size=None
            ),
        ),
        migrations.AddField(
            model_name="tier",
            name="rate_slope",
            field=models.DecimalField(db_default=0, decimal_places=18, default=0, max_digits=38),
        ),
        migrations.AddField(
            model_name="tier",
            name="is_sample",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunSQL(MARK_SAMPLES, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="tier",
            constraint=models.UniqueConstraint(
                fields=("label", "symbol", "effective_from", "recorded_at", "tier"), name="margin_tier_once"
            ),
        ),
        migrations.AddField(
            model_name="risklevels",
            name="author",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="advisors.member",
            ),
        ),
        migrations.AddConstraint(
            model_name="markhour",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "high_price__gte",
                        django.db.models.functions.comparison.Greatest("open_price", "close_price"),
                    ),
                    ("high_price__lt", 1000000000000000000),
                    ("low_price__gt", 0),
                    (
                        "low_price__lte",
                        django.db.models.functions.comparison.Least("open_price", "close_price"),
                    ),
                ),
                name="margin_markhour_prices_sane",
            ),
        ),
        migrations.AddIndex(
            model_name="risklevels",
            index=models.Index(fields=["firm_id", "recorded_at"], name="margin_risklevels_newest"),
        ),
        migrations.AddConstraint(
            model_name="volatility",
            constraint=models.UniqueConstraint(
                fields=("instrument", "computed_at"), name="margin_volatility_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="volatility",
            constraint=models.CheckConstraint(
                condition=models.Q(("daily_volatility__gt", 0), ("daily_volatility__lt", 100)),
                name="margin_volatility_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="risklevels",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    watch_ratio__gt=0,
                    danger_ratio__gte=models.F("watch_ratio"),
                    critical_ratio__gte=models.F("danger_ratio"),
                    critical_ratio__lt=1,
                ),
                name="margin_risklevels_ratio_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="risklevels",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    critical_sigmas__gt=0,
                    danger_sigmas__gte=models.F("critical_sigmas"),
                    watch_sigmas__gte=models.F("danger_sigmas"),
                    watch_sigmas__lt=100,
                ),
                name="margin_risklevels_sigmas_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="risklevels",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    critical_distance__gt=0,
                    danger_distance__gte=models.F("critical_distance"),
                    watch_distance__gte=models.F("danger_distance"),
                    watch_distance__lt=1,
                ),
                name="margin_risklevels_distance_sane",
            ),
        ),
        narrow_grants("margin_tier", worker="SELECT, INSERT"),
        narrow_grants("margin_markhour", web="SELECT", worker="SELECT, INSERT"),
        narrow_grants("margin_volatility", web="SELECT", worker="SELECT, INSERT"),
        tenant_table(
            "margin_risklevels",
            writers=("compliance", "system"),
            readers=("advisor", "compliance", "system"),
            foreign_keys={"author_id": "advisors_member"},
        ),
        narrow_grants("margin_risklevels", web="SELECT, INSERT", worker="SELECT, INSERT"),
    ]
