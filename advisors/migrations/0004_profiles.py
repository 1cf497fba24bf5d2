"""What a client agreed to, what things were called before, and tokens that write."""

import django.db.models.deletion
from django.db import migrations, models

import advisors.models
from config.db.wall import narrow_grants, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("advisors", "0003_waiting_exports"),
    ]

    operations = [
        migrations.CreateModel(
            name="ClientProfile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("term", models.CharField(max_length=32)),
                ("choice", models.CharField(blank=True, default="", max_length=32)),
                ("limit", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("effective_from", models.DateField()),
                ("recorded_at", models.DateTimeField()),
                ("reason", models.CharField(max_length=500)),
            ],
        ),
        migrations.CreateModel(
            name="FormerValue",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("subject", models.CharField(max_length=16)),
                ("subject_key", models.BigIntegerField()),
                ("field", models.CharField(max_length=16)),
                ("value", models.CharField(max_length=120)),
                ("until_at", models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="apitoken",
            name="advisors_apitoken_purpose",
        ),
        migrations.AddConstraint(
            model_name="apitoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("firm_id__isnull", False),
                        ("member_id__isnull", False),
                        ("purpose__in", ["read", "write"]),
                        ("user__isnull", False),
                    ),
                    models.Q(
                        ("firm_id__isnull", True),
                        ("member_id__isnull", True),
                        ("purpose", "ingest"),
                        ("user__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="advisors_apitoken_purpose",
            ),
        ),
        migrations.AddField(
            model_name="clientprofile",
            name="author",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="advisors.member",
            ),
        ),
        migrations.AddField(
            model_name="clientprofile",
            name="client",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="advisors.client",
            ),
        ),
        migrations.AddField(
            model_name="formervalue",
            name="client",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="advisors.client",
            ),
        ),
        migrations.AddIndex(
            model_name="clientprofile",
            index=models.Index(
                fields=["firm_id", "client", "term", "-effective_from", "-recorded_at"],
                name="advisors_clientprofile_force",
            ),
        ),
        migrations.AddConstraint(
            model_name="clientprofile",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("limit__isnull", True),
                    models.Q(("limit__gte", 0), ("limit__lt", 1000000000000000000)),
                    _connector="OR",
                ),
                name="advisors_clientprofile_limit_sane",
            ),
        ),
        migrations.AddIndex(
            model_name="formervalue",
            index=models.Index(
                fields=["firm_id", "subject", "subject_key", "field", "until_at"],
                name="advisors_formervalue_asof",
            ),
        ),
        migrations.AddConstraint(
            model_name="formervalue",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("field__in", ["name", "reference"]), ("subject", "client")),
                    models.Q(("field", "name"), ("subject", "portfolio")),
                    models.Q(("field__in", ["label", "auto_margin"]), ("subject", "account")),
                    _connector="OR",
                ),
                name="advisors_formervalue_field_known",
            ),
        ),
        *(
            operation
            for table, keys in (
                ("advisors_formervalue", {"client_id": "advisors_client"}),
                (
                    "advisors_clientprofile",
                    {"client_id": "advisors_client", "author_id": "advisors_member"},
                ),
            )
            for operation in (
                tenant_table(table, client="client_id", writers=("advisor", "system"), foreign_keys=keys),
                narrow_grants(table, web="SELECT, INSERT", worker="SELECT, INSERT"),
            )
        ),
    ]
