"""Every kind of event, corrections, what is thought of a position, and how files are read."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import advisors.models
from config.db.wall import narrow_grants, tenant_table

# Where each fold stands, from the events that are there. The owner's own rows are hidden from it while FORCE is on.
BACKFILL = """
ALTER TABLE portfolios_position NO FORCE ROW LEVEL SECURITY;
ALTER TABLE portfolios_positionevent NO FORCE ROW LEVEL SECURITY;
ALTER TABLE portfolios_ledgerhead NO FORCE ROW LEVEL SECURITY;
UPDATE portfolios_position p SET last_effective_at = e.effective_at, last_seq = e.seq, last_recorded_at = e.recorded_at
FROM (
    SELECT DISTINCT ON (firm_id, position_id) firm_id, position_id, effective_at, seq,
        max(recorded_at) OVER (PARTITION BY firm_id, position_id) AS recorded_at
    FROM portfolios_positionevent ORDER BY firm_id, position_id, effective_at DESC, seq DESC
) e WHERE e.firm_id = p.firm_id AND e.position_id = p.id;
UPDATE portfolios_ledgerhead h SET recorded_at = e.recorded_at
FROM (SELECT firm_id, max(recorded_at) AS recorded_at FROM portfolios_positionevent GROUP BY firm_id) e
WHERE e.firm_id = h.firm_id;
ALTER TABLE portfolios_position FORCE ROW LEVEL SECURITY;
ALTER TABLE portfolios_positionevent FORCE ROW LEVEL SECURITY;
ALTER TABLE portfolios_ledgerhead FORCE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("advisors", "0004_profiles"),
        ("portfolios", "0002_wall"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportProfile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("public_id", models.UUIDField(default=uuid.uuid4)),
                ("name", models.CharField(max_length=80)),
                ("kind", models.CharField(max_length=16)),
                ("venue", models.CharField(blank=True, default="", max_length=32)),
                ("fingerprint", models.CharField(max_length=64)),
                ("mapping", models.JSONField()),
                ("time_zone", models.CharField(blank=True, default="", max_length=64)),
                ("decimal_mark", models.CharField(default=".", max_length=1)),
                ("created_at", models.DateTimeField()),
                ("retired_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="PositionAnnotation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("firm_id", models.BigIntegerField(db_default=advisors.models.CurrentFirm(), editable=False)),
                ("recorded_at", models.DateTimeField()),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40), default=list, size=None
                    ),
                ),
                ("conviction", models.PositiveSmallIntegerField(null=True)),
                ("note", models.CharField(blank=True, default="", max_length=2000)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="positionevent",
            name="portfolios_event_kind_known",
        ),
        migrations.AddField(
            model_name="importbatch",
            name="appended",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="importbatch",
            name="kind",
            field=models.CharField(default="positions", max_length=16),
        ),
        migrations.AddField(
            model_name="importbatch",
            name="reading",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="importbatch",
            name="undone_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="ledgerhead",
            name="recorded_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="position",
            name="last_effective_at",
            field=models.DateTimeField(default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="position",
            name="last_recorded_at",
            field=models.DateTimeField(default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="position",
            name="last_seq",
            field=models.BigIntegerField(default=0),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="positionevent",
            name="rate",
            field=models.DecimalField(decimal_places=18, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="positionevent",
            name="replaces_seq",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="venueaccount",
            name="auto_margin",
            field=models.BooleanField(default=False),
        ),
        migrations.AddIndex(
            model_name="positionevent",
            index=models.Index(fields=["firm_id", "recorded_at"], name="portfolios_event_recorded"),
        ),
        migrations.AddConstraint(
            model_name="positionevent",
            constraint=models.UniqueConstraint(
                condition=models.Q(("replaces_seq__isnull", False)),
                fields=("firm_id", "replaces_seq"),
                name="portfolios_event_replaced_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="positionevent",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "funding"), ("source", "computed")),
                fields=("firm_id", "position", "effective_at"),
                name="portfolios_event_funding_once",
            ),
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
                            "leverage_set",
                            "stop_set",
                            "funding",
                            "fee",
                            "closed",
                            "liquidated",
                            "deleveraged",
                            "adjusted",
                            "voided",
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
                    models.Q(("kind", "voided"), ("replaces_seq__isnull", False)),
                    models.Q(("kind", "voided"), _negated=True),
                    _connector="OR",
                ),
                name="portfolios_event_void_of_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="positionevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("rate__isnull", True),
                    models.Q(("rate__gt", -1000000000000000000), ("rate__lt", 1000000000000000000)),
                    _connector="OR",
                ),
                name="portfolios_event_rate_sane",
            ),
        ),
        migrations.AddField(
            model_name="importprofile",
            name="member",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="advisors.member",
            ),
        ),
        migrations.AddField(
            model_name="positionannotation",
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
            model_name="positionannotation",
            name="client",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="advisors.client",
            ),
        ),
        migrations.AddField(
            model_name="positionannotation",
            name="position",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="portfolios.position",
            ),
        ),
        migrations.AddConstraint(
            model_name="importprofile",
            constraint=models.UniqueConstraint(
                fields=("firm_id", "public_id"), name="portfolios_importprofile_public"
            ),
        ),
        migrations.AddConstraint(
            model_name="importprofile",
            constraint=models.UniqueConstraint(
                condition=models.Q(("retired_at__isnull", True)),
                fields=("firm_id", "name"),
                name="portfolios_importprofile_name",
            ),
        ),
        migrations.AddConstraint(
            model_name="importprofile",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["positions", "events", "clients"])),
                name="portfolios_importprofile_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="importprofile",
            constraint=models.CheckConstraint(
                condition=models.Q(("decimal_mark__in", [".", ","])),
                name="portfolios_importprofile_decimal_mark",
            ),
        ),
        migrations.AddIndex(
            model_name="positionannotation",
            index=models.Index(
                fields=["firm_id", "position", "-recorded_at"], name="portfolios_annotation_newest"
            ),
        ),
        migrations.AddConstraint(
            model_name="positionannotation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("conviction__isnull", True),
                    models.Q(("conviction__gte", 1), ("conviction__lte", 5)),
                    _connector="OR",
                ),
                name="portfolios_annotation_conviction_known",
            ),
        ),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
        tenant_table(
            "portfolios_importprofile",
            writers=("advisor", "system"),
            readers=("advisor", "compliance", "system"),
            foreign_keys={"member_id": "advisors_member"},
        ),
        tenant_table(
            "portfolios_positionannotation",
            client="client_id",
            writers=("advisor", "system"),
            foreign_keys={"client_id": "advisors_client", "author_id": "advisors_member"},
            book_keys={"position_id": "portfolios_position"},
        ),
        narrow_grants("portfolios_positionannotation", web="SELECT, INSERT", worker="SELECT, INSERT"),
    ]
