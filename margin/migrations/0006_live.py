"""Sources of marks beside each other, what could not be true, and the states as sweeps found them."""

import django.db.models.deletion
from django.db import migrations, models

import advisors.models
from config.db.wall import narrow_grants, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("advisors", "0005_live"),
        ("margin", "0005_every_venue"),
        ("portfolios", "0005_balances"),
    ]

    operations = [
        migrations.AddField(
            model_name="markprice",
            name="disputed_high",
            field=models.DecimalField(decimal_places=18, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="markprice",
            name="disputed_low",
            field=models.DecimalField(decimal_places=18, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="marktick",
            name="disputed_high",
            field=models.DecimalField(decimal_places=18, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="marktick",
            name="disputed_low",
            field=models.DecimalField(decimal_places=18, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="riskstate",
            name="mark_age_limit_seconds",
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name="MarkDoubt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source", models.CharField(max_length=32)),
                ("price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("since_at", models.DateTimeField()),
                ("until_at", models.DateTimeField(null=True)),
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
                "indexes": [models.Index(fields=["instrument", "since_at"], name="margin_markdoubt_asof")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("price__gt", 0), ("price__lt", 1000000000000000000)),
                        name="margin_markdoubt_price_positive",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="MarkFeed",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "instrument", "source", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("source", models.CharField(max_length=32)),
                ("sequence", models.BigIntegerField()),
                ("price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("source_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("missed", models.BigIntegerField(default=0)),
                ("epochs", models.IntegerField(default=0)),
                ("suspect_price", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("suspect_marks", models.PositiveSmallIntegerField(default=0)),
                ("suspect_since", models.DateTimeField(null=True)),
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
                    models.CheckConstraint(
                        condition=models.Q(("price__gt", 0), ("price__lt", 1000000000000000000)),
                        name="margin_markfeed_price_positive",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="MarkRefusal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source", models.CharField(max_length=32)),
                ("reason", models.CharField(max_length=80)),
                ("hour_at", models.DateTimeField()),
                ("marks", models.BigIntegerField()),
                ("last_symbol", models.CharField(max_length=80)),
                ("last_price", models.CharField(max_length=80)),
                ("last_at", models.DateTimeField()),
                (
                    "instrument",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="portfolios.instrument",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour_at", "source", "reason", "instrument"),
                        name="margin_markrefusal_once",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StateChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("position_version", models.IntegerField()),
                ("at", models.DateTimeField()),
                ("was", models.SmallIntegerField(null=True)),
                ("state", models.SmallIntegerField()),
                ("is_wick", models.BooleanField(default=False)),
                ("mark_price", models.FloatField(null=True)),
                ("mark_at", models.DateTimeField(null=True)),
                ("margin_ratio", models.FloatField(null=True)),
                ("distance_ratio", models.FloatField(null=True)),
                ("distance_sigmas", models.FloatField(null=True)),
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
            options={
                "indexes": [
                    models.Index(
                        fields=["firm_id", "position", "-at", "-id"], name="margin_statechange_newest"
                    ),
                    models.Index(fields=["firm_id", "at"], name="margin_statechange_since"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__gte", 0), ("state__lt", 6)),
                        name="margin_statechange_state_known",
                    )
                ],
            },
        ),
        narrow_grants("margin_markfeed", web="SELECT"),
        narrow_grants("margin_markrefusal", web="SELECT"),
        narrow_grants("margin_markdoubt", web="SELECT", worker="SELECT, INSERT, UPDATE"),
        tenant_table(
            "margin_statechange",
            client="client_id",
            writers=("system",),
            foreign_keys={"client_id": "advisors_client"},
            book_keys={"position_id": "portfolios_position"},
        ),
        narrow_grants("margin_statechange", web="SELECT", worker="SELECT, INSERT"),
    ]
