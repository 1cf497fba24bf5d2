"""The database cache (rate limits live there, so that they outlast Redis) and grants on Django's own tables."""

from django.db import migrations

from config.db.wall import narrow_grants

CACHE = """
CREATE TABLE config_cache (
    cache_key varchar(255) NOT NULL PRIMARY KEY,
    value text NOT NULL,
    expires timestamptz NOT NULL
);
CREATE INDEX config_cache_expires ON config_cache (expires);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("margin", "0002_wall"),
        ("sessions", "0001_initial"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.RunSQL(CACHE, "DROP TABLE config_cache"),
        narrow_grants("django_migrations", web="SELECT", worker="SELECT"),
        narrow_grants("django_session", worker="SELECT, DELETE"),
        # Nobody uses Django's groups and permissions here: roles.py says who may do what.
        *(
            narrow_grants(table, web="SELECT", worker="SELECT")
            for table in ("django_content_type", "auth_permission", "auth_group", "auth_group_permissions")
        ),
    ]
