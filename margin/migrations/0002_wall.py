"""Puts the tables of margin behind the wall; the risk state is a cache and is kept out of the log."""

from django.db import migrations

from config.db.wall import narrow_grants, tenant_table


class Migration(migrations.Migration):
    dependencies = [("margin", "0001_initial"), ("portfolios", "0002_wall")]

    operations = [
        narrow_grants("margin_markprice", web="SELECT"),
        narrow_grants("margin_marktick", web="SELECT", worker="SELECT, INSERT, DELETE"),
        narrow_grants("margin_tier", web="SELECT"),
        narrow_grants("margin_markintake", web="INSERT"),
        tenant_table("margin_riskstate", client="client_id", writers=("system",)),
        tenant_table(
            "margin_quarantine",
            client="client_id",
            writers=("system",),
            foreign_keys={"client_id": "advisors_client"},
            book_keys={"id": "portfolios_position"},
        ),
        narrow_grants("margin_riskstate", web="SELECT"),
        narrow_grants("margin_quarantine", web="SELECT"),
        migrations.RunSQL(
            "ALTER TABLE margin_riskstate SET UNLOGGED;"
            # Room on each page for the next version of its rows, which no index points into.
            "ALTER TABLE margin_riskstate SET (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05)",
            migrations.RunSQL.noop,
        ),
    ]
