"""How far each firm was swept, views that members keep, and when they last looked."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

import advisors.models
from config.db.wall import private_to_member, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("advisors", "0004_profiles"),
    ]

    operations = [
        migrations.AddField(
            model_name="firmrun",
            name="swept_to",
            field=models.DateTimeField(null=True),
        ),
        migrations.CreateModel(
            name="MemberLook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("page", models.CharField(max_length=16)),
                ("looked_at", models.DateTimeField()),
                ("since_at", models.DateTimeField()),
                (
                    "member",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="advisors.member",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("firm_id", "member", "page"), name="advisors_memberlook_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SavedView",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("public_id", models.UUIDField(default=uuid.uuid4)),
                ("page", models.CharField(max_length=16)),
                ("name", models.CharField(max_length=60)),
                ("query", models.CharField(blank=True, max_length=2000)),
                ("is_team", models.BooleanField(default=False)),
                ("is_default", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField()),
                (
                    "member",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="advisors.member",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("firm_id", "public_id"), name="advisors_savedview_public"
                    ),
                    models.UniqueConstraint(
                        fields=("firm_id", "member", "page", "name"), name="advisors_savedview_name"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)),
                        fields=("firm_id", "member", "page"),
                        name="advisors_savedview_default",
                    ),
                ],
            },
        ),
        tenant_table(
            "advisors_savedview",
            writers=("advisor", "compliance", "system"),
            readers=("advisor", "compliance", "system"),
            foreign_keys={"member_id": "advisors_member"},
        ),
        private_to_member("advisors_savedview", shared="is_team"),
        tenant_table(
            "advisors_memberlook",
            writers=("advisor", "compliance", "system"),
            readers=("advisor", "compliance", "system"),
            foreign_keys={"member_id": "advisors_member"},
        ),
        private_to_member("advisors_memberlook"),
    ]
