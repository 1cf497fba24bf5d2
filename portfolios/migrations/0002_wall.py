"""Puts the tables of portfolios behind the wall."""

from django.db import migrations

from config.db.wall import narrow_grants, owned_by_member, tenant_table

BOOK_WRITERS = ("advisor", "system")
CLIENT = {"client_id": "advisors_client"}


class Migration(migrations.Migration):
    dependencies = [("portfolios", "0001_initial"), ("advisors", "0002_wall")]

    operations = [
        narrow_grants("portfolios_instrument", web="SELECT"),
        tenant_table(
            "portfolios_portfolio",
            client="client_id",
            writers=BOOK_WRITERS,
            foreign_keys=CLIENT,
            book_key=True,
        ),
        tenant_table(
            "portfolios_venueaccount",
            client="client_id",
            writers=BOOK_WRITERS,
            foreign_keys=CLIENT,
            book_key=True,
        ),
        tenant_table(
            "portfolios_ledgerhead", writers=BOOK_WRITERS, readers=("advisor", "compliance", "system")
        ),
        tenant_table(
            "portfolios_importbatch",
            writers=BOOK_WRITERS,
            readers=("advisor", "compliance", "system"),
            foreign_keys={"member_id": "advisors_member"},
        ),
        owned_by_member("portfolios_importbatch"),
        tenant_table(
            "portfolios_position",
            client="client_id",
            writers=BOOK_WRITERS,
            foreign_keys=CLIENT,
            book_keys={"portfolio_id": "portfolios_portfolio", "account_id": "portfolios_venueaccount"},
            book_key=True,
        ),
        tenant_table(
            "portfolios_positionevent",
            client="client_id",
            writers=BOOK_WRITERS,
            foreign_keys={
                **CLIENT,
                "author_id": "advisors_member",
                "batch_id": "portfolios_importbatch",
            },
            book_keys={"position_id": "portfolios_position"},
        ),
        narrow_grants("portfolios_positionevent", web="SELECT, INSERT", worker="SELECT, INSERT"),
    ]
