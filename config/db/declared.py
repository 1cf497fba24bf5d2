"""What the wall expects to find: the global tables, who may do what to which table, the policies and the functions."""

import re
from dataclasses import dataclass

from config.db import functions

OWNER = "bulkhead_owner"
WEB, WORKER, MIGRATE = "bulkhead_web", "bulkhead_worker", "bulkhead_migrate"
FIRM_TABLE = "advisors_firm"
CLIENT_TABLE = "advisors_client"

NOTHING: frozenset[str] = frozenset()
READ = frozenset({"SELECT"})
ADD = frozenset({"SELECT", "INSERT"})
WRITE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


@dataclass(frozen=True, slots=True)
class Grants:
    """The most that each login may be granted on a table."""

    web: frozenset[str]
    worker: frozenset[str]


# Tables without a firm. Whatever is not listed here is a tenant table and must stand behind the wall.
GLOBAL_TABLES = {
    "account_emailaddress": Grants(WRITE, WRITE),
    "account_emailconfirmation": Grants(WRITE, WRITE),
    "auth_group": Grants(READ, READ),
    "auth_group_permissions": Grants(READ, READ),
    "auth_permission": Grants(READ, READ),
    "django_content_type": Grants(READ, READ),
    "django_migrations": Grants(READ, READ),
    "django_session": Grants(WRITE, frozenset({"SELECT", "DELETE"})),
    "advisors_apitoken": Grants(NOTHING, frozenset({"SELECT", "INSERT", "UPDATE"})),
    "advisors_firmrun": Grants(NOTHING, WRITE),
    "advisors_heartbeat": Grants(READ, WRITE),
    "advisors_user": Grants(WRITE, WRITE),
    "config_cache": Grants(WRITE, WRITE),
    "portfolios_instrument": Grants(READ, WRITE),
    "margin_fundingrate": Grants(READ, frozenset({"SELECT", "INSERT", "UPDATE"})),
    "margin_markcandle": Grants(READ, frozenset({"SELECT", "INSERT", "DELETE"})),
    "margin_markintake": Grants(frozenset({"INSERT"}), WRITE),
    "margin_markprice": Grants(READ, WRITE),
    "margin_marktick": Grants(READ, frozenset({"SELECT", "INSERT", "DELETE"})),
    "margin_markfeed": Grants(READ, WRITE),
    "margin_markrefusal": Grants(READ, WRITE),
    "margin_markdoubt": Grants(READ, frozenset({"SELECT", "INSERT", "UPDATE"})),
    "margin_markhour": Grants(READ, ADD),
    "margin_tier": Grants(READ, ADD),
    "margin_volatility": Grants(READ, ADD),
}

# Tables kept in one partition a month, and the column that says which; no other table has partitions.
MONTHLY = {"margin_marktick": "source_at", "margin_markcandle": "minute_at"}

# Tenant tables that grant less than reading and writing.
NARROWED = {
    FIRM_TABLE: Grants(READ, WRITE),
    "advisors_auditentry": Grants(ADD, ADD),
    "advisors_clientprofile": Grants(ADD, ADD),
    "advisors_formervalue": Grants(ADD, ADD),
    "portfolios_positionevent": Grants(ADD, ADD),
    "portfolios_positionannotation": Grants(ADD, ADD),
    "margin_fundinghead": Grants(READ, WRITE),
    "margin_sealedday": Grants(READ, ADD),
    "margin_sealedbook": Grants(READ, ADD),
    "margin_risklevels": Grants(ADD, ADD),
    "margin_riskstate": Grants(READ, WRITE),
    "margin_statechange": Grants(READ, ADD),
    "portfolios_accountbalance": Grants(ADD, ADD),
    "margin_quarantine": Grants(READ, WRITE),
}

# Tenant tables that are about the firm and not about one client, and which roles read them (none: every role).
FIRM_WIDE: dict[str, tuple[str, ...]] = {
    FIRM_TABLE: (),
    "advisors_member": (),
    # The book policy of every other table reads this one: with a book policy of its own it would call itself.
    "advisors_assignment": (),
    "advisors_auditentry": ("compliance", "system"),
    "advisors_exportjob": ("compliance", "system"),
    "portfolios_ledgerhead": ("advisor", "compliance", "system"),
    "portfolios_importbatch": ("advisor", "compliance", "system"),
    "portfolios_importprofile": ("advisor", "compliance", "system"),
    "margin_fundinghead": ("advisor", "compliance", "system"),
    "margin_sealedday": ("advisor", "compliance", "system"),
    "margin_risklevels": ("advisor", "compliance", "system"),
    "advisors_savedview": ("advisor", "compliance", "system"),
    "advisors_memberlook": ("advisor", "compliance", "system"),
}

# Key-like columns of tenant tables that no foreign key ties, because what they name is not behind the wall, or
# because the row is a cache or a record that outlives what it names.
UNTIED_COLUMNS = {
    ("advisors_member", "user_id"),
    ("advisors_auditentry", "member_id"),
    ("margin_riskstate", "client_id"),
}

# As the server prints them. The sub-selects make the functions run once a statement and not once a row.
FIRM_RULE = "({column} = ( SELECT app_firm() AS app_firm))"
BOOK_RULE = (
    "(( SELECT app_role() AS app_role) = ANY (ARRAY['compliance'::text, 'system'::text])) OR "
    "((( SELECT app_role() AS app_role) = 'advisor'::text) AND ({column} IN ( SELECT advisors_assignment.client_id "
    "FROM advisors_assignment WHERE ((advisors_assignment.member_id = ( SELECT app_member() AS app_member)) "
    "AND (advisors_assignment.until IS NULL)))))"
)
ADMINS_TOO = " OR (( SELECT app_role() AS app_role) = 'admin'::text)"
ROLE = r"'(?:advisor|compliance|admin|system)'::text"
ROLES_RULE = re.compile(
    rf"\(\( SELECT app_role\(\) AS app_role\) = (?:{ROLE}|ANY \(ARRAY\[{ROLE}(?:, {ROLE})*\]\))\)"
)

# Every function of ours with the logins that may call it.
BOTH = frozenset({WEB, WORKER})
FUNCTIONS: dict[str, frozenset[str]] = {
    "app_scope_part(integer)": frozenset(),
    "app_firm()": BOTH,
    "app_member()": BOTH,
    "app_role()": BOTH,
    "app_create_client(uuid,text,text)": frozenset({WEB}),
    "app_authenticate_token(bytea)": frozenset({WEB}),
    "app_ensure_partitions(date,date)": frozenset({WORKER}),
}
BODIES: dict[str, str] = dict(
    re.findall(
        r"CREATE FUNCTION (\w+)\([^$]*?AS\s*\$\$(.*?)\$\$",
        functions.SCOPE_FUNCTIONS
        + functions.CREATE_CLIENT
        + functions.AUTHENTICATE
        + functions.ENSURE_PARTITIONS,
        re.DOTALL,
    )
)
PINNED_PATHS = ("search_path=pg_catalog, pg_temp", "search_path=pg_catalog, public, pg_temp")
