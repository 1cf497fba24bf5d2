"""What the venue calls an event, by which a file's line is known again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("portfolios", "0003_whole_story")]

    operations = [
        migrations.AddField(
            model_name="positionevent",
            name="venue_event_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=80),
        ),
    ]
