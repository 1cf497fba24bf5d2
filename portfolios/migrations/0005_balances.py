"""What of an account stands behind no position."""

import django.db.models.deletion
from django.db import migrations, models

import advisors.models
from config.db.wall import narrow_grants, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("advisors", "0005_live"),
        ("portfolios", "0004_venue_event_id"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountBalance",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("asset", models.CharField(max_length=20)),
                ("free_collateral", models.DecimalField(decimal_places=18, max_digits=38)),
                ("balance_at", models.DateTimeField()),
                ("recorded_at", models.DateTimeField()),
                ("source", models.CharField(max_length=32)),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="portfolios.venueaccount",
                    ),
                ),
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
                "indexes": [
                    models.Index(
                        fields=["firm_id", "account", "asset", "-balance_at", "-recorded_at"],
                        name="portfolios_balance_newest",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("free_collateral__gte", 0), ("free_collateral__lt", 1000000000000000000)
                        ),
                        name="portfolios_balance_sane",
                    )
                ],
            },
        ),
        tenant_table(
            "portfolios_accountbalance",
            client="client_id",
            writers=("advisor", "system"),
            foreign_keys={"client_id": "advisors_client", "author_id": "advisors_member"},
            book_keys={"account_id": "portfolios_venueaccount"},
        ),
        narrow_grants("portfolios_accountbalance", web="SELECT, INSERT", worker="SELECT, INSERT"),
    ]
