"""Puts the tables of advisors behind the wall."""

from django.db import migrations

from config.db.functions import AUTHENTICATE, CREATE_CLIENT, DROP_AUTHENTICATE, DROP_CREATE_CLIENT
from config.db.wall import firm_table, narrow_grants, signed_by_member, tenant_table

EVERYBODY = ("advisor", "compliance", "admin", "system")


class Migration(migrations.Migration):
    dependencies = [("advisors", "0001_initial")]

    operations = [
        firm_table("advisors_firm"),
        tenant_table("advisors_member", writers=("admin", "system")),
        tenant_table("advisors_client", client="id", seen_by_admins=True, writers=("advisor", "system")),
        # Only the firm's policy and who may write: the book policy of every other table reads this one.
        tenant_table(
            "advisors_assignment",
            writers=("admin", "system"),
            foreign_keys={"client_id": "advisors_client", "member_id": "advisors_member"},
        ),
        tenant_table("advisors_auditentry", writers=EVERYBODY, readers=("compliance", "system")),
        signed_by_member("advisors_auditentry"),
        tenant_table(
            "advisors_exportjob",
            writers=("compliance", "system"),
            readers=("compliance", "system"),
            foreign_keys={"member_id": "advisors_member"},
        ),
        migrations.RunSQL(CREATE_CLIENT, DROP_CREATE_CLIENT),
        migrations.RunSQL(AUTHENTICATE, DROP_AUTHENTICATE),
        narrow_grants("advisors_firm", web="SELECT"),
        narrow_grants("advisors_auditentry", web="SELECT, INSERT", worker="SELECT, INSERT"),
        narrow_grants("advisors_apitoken", web="", worker="SELECT, INSERT, UPDATE"),
        narrow_grants("advisors_firmrun", web=""),
        narrow_grants("advisors_heartbeat", web="SELECT"),
    ]
