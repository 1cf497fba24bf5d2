"""Finds the exports that wait without reading those that are done."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("advisors", "0002_wall")]

    operations = [
        migrations.AddIndex(
            model_name="exportjob",
            index=models.Index(
                condition=models.Q(("state__in", ["waiting", "running"])),
                fields=["firm_id", "requested_at", "id"],
                name="advisors_exportjob_waiting",
            ),
        ),
    ]
