"""The catalogue audit: what the database holds, against the rules of the wall; it never looks at the models."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from config.db.declared import (
    ADMINS_TOO,
    BODIES,
    BOOK_RULE,
    CLIENT_TABLE,
    FIRM_RULE,
    FIRM_TABLE,
    FIRM_WIDE,
    FUNCTIONS,
    GLOBAL_TABLES,
    MIGRATE,
    MONTHLY,
    NARROWED,
    NOTHING,
    OWNER,
    PINNED_PATHS,
    ROLES_RULE,
    UNTIED_COLUMNS,
    WEB,
    WORKER,
    WRITE,
    Grants,
)
from config.db.facts import Container, Cursor, Facts, ForeignKey, Function, Policy, Relation, read_facts

LOGINS = frozenset({WEB, WORKER})
KINDS = {
    "r": "Table",
    "p": "Table",
    "v": "View",
    "m": "Materialised view",
    "f": "Foreign table",
    "S": "Sequence",
}
COMMANDS = {"a": "INSERT", "w": "UPDATE", "d": "DELETE"}
# A function called once a statement: the server prints it inside a sub-select of its own.
ONCE_A_STATEMENT = re.compile(r"\( SELECT app_(?:firm|member|role)\(\) AS app_(?:firm|member|role)\)")
CALL = re.compile(r"\b([a-z_][a-z0-9_.]*)\(")
# As the server prints the bounds of a partition, in the time zone of whoever asks.
MOMENT = r"\('(\d{4}-\d\d-\d\d [\d:+-]+)'\)"
BOUNDS = re.compile(f"FOR VALUES FROM {MOMENT} TO {MOMENT}")
# The most that web and worker may do with what holds the tables, and with tables not made yet.
CONTAINER_GRANTS = {
    "Database": frozenset({"CONNECT"}),
    "Schema public": frozenset({"USAGE"}),
    "Default privileges on tables": WRITE,
    "Default privileges on sequences": frozenset({"USAGE"}),
}
INVOKER = frozenset(f"security_invoker={word}" for word in ("true", "on", "1", "yes"))


def audit(cursor: Cursor) -> list[str]:
    """Every breach of the wall's rules, one plain sentence each; none when the wall stands."""
    return sorted(set(judge(read_facts(cursor))))


def judge(facts: Facts) -> Iterator[str]:
    # By name and not by oid: another schema's namesake is reported for where it lies.
    tenants = {relation.name for relation in facts.relations if _is_tenant(relation)}
    for relation in facts.relations:
        subject = f"{KINDS[relation.kind]} {relation.name}"
        yield from _judge_relation(subject, relation)
        yield from _judge_partition(subject, relation)
        yield from _judge_grants(subject, relation)
        if _is_tenant(relation):
            yield from _judge_tenant(subject, relation, tenants)
        else:
            yield from _judge_global(subject, relation, tenants)
    for function in facts.functions:
        yield from _judge_function(function)
    for container in facts.containers:
        yield from _judge_container(container)
    for name in facts.strangers:
        yield f"{name} is not part of the wall."


def _is_tenant(relation: Relation) -> bool:
    return relation.kind in ("r", "p") and relation.root not in GLOBAL_TABLES


def _judge_relation(subject: str, relation: Relation) -> Iterator[str]:
    if relation.schema != "public":
        yield f"{subject} lies in schema {relation.schema}, outside the wall."
    if relation.owner != OWNER:
        yield f"{subject} belongs to {relation.owner} and not to {OWNER}."
    if relation.kind in ("m", "f"):
        yield f"{subject} is of a kind that row-level security does not cover."
    if relation.kind == "v" and not relation.options & INVOKER:
        yield f"{subject} is not security_invoker: it shows what its owner may see."
    yield from (f"{subject}: trigger {name} is not part of the wall." for name in relation.triggers)
    yield from (f"{subject}: rule {name} is not part of the wall." for name in relation.rules)


def _judge_partition(subject: str, relation: Relation) -> Iterator[str]:
    column = MONTHLY.get(relation.root)
    if relation.bounds is None:
        expected = column and f"RANGE ({column})"
        if relation.divided_by != expected:
            yield f"{subject} is divided by {relation.divided_by or 'nothing'} and not by {expected or 'nothing'}."
    elif column is None:
        yield f"{subject} is a partition of {relation.root}, which is not in the list of tables kept by month."
    elif relation.divided_by or _name_of_month(relation) != relation.name:
        yield f"{subject} does not hold the month it is named after."


def _name_of_month(relation: Relation) -> str | None:
    """What a partition with these bounds is called; None where they are not those of a month."""
    bounds = BOUNDS.fullmatch(relation.bounds or "")
    if bounds is None:
        return None
    start, end = (datetime.fromisoformat(moment).astimezone(UTC) for moment in bounds.groups())
    following = (start + timedelta(days=31)).replace(day=1)
    whole = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0) == start and end == following
    return f"{relation.root}_{start:%Y_%m}" if whole else None


def _judge_global(subject: str, relation: Relation, tenants: set[str]) -> Iterator[str]:
    for key in relation.foreign_keys:
        if key.target in tenants:
            yield f"{subject} is global, but its foreign key {key.name} points at tenant table {key.target}."


def _allowed_grants(relation: Relation) -> Grants:
    if relation.kind == "S":
        return Grants(frozenset({"USAGE"}), frozenset({"USAGE"}))
    if relation.bounds is not None:
        # Named directly, a partition is not held by the rules of its table.
        return Grants(NOTHING, NOTHING)
    return GLOBAL_TABLES.get(relation.root) or NARROWED.get(relation.root) or Grants(WRITE, WRITE)


def _judge_grants(subject: str, relation: Relation) -> Iterator[str]:
    allowed = _allowed_grants(relation)
    by_login = {WEB: allowed.web, WORKER: allowed.worker}
    for grantee, privileges in relation.grants.items():
        excess = privileges - by_login.get(grantee, frozenset())
        if grantee != OWNER and excess:
            yield f"{subject} grants {', '.join(sorted(excess))} to {grantee}."
    for name, column in relation.columns.items():
        if column.granted:
            yield f"{subject}: column {name} carries grants of its own."


def _judge_tenant(subject: str, relation: Relation, tenants: set[str]) -> Iterator[str]:
    key = "id" if relation.root == FIRM_TABLE else "firm_id"
    if not relation.secured:
        yield f"{subject} has no row-level security."
    if not relation.forced:
        yield f"{subject} does not force row-level security on its owner."
    if relation.root != FIRM_TABLE:
        yield from _judge_firm_column(subject, relation)
    yield from _judge_unique_keys(subject, relation, key)
    for foreign_key in relation.foreign_keys:
        yield from _judge_foreign_key(subject, foreign_key, relation, tenants)
    yield from _judge_untied(subject, relation)
    yield from _judge_policies(subject, relation, key)


def _judge_firm_column(subject: str, relation: Relation) -> Iterator[str]:
    firm = relation.columns.get("firm_id")
    if firm is None:
        yield f"{subject} has no firm_id and is not in the list of global tables."
        return
    if firm.type != "bigint" or not firm.required:
        yield f"{subject}: firm_id is not bigint NOT NULL."
    if firm.default not in ("app_firm()", "public.app_firm()"):
        yield f"{subject}: firm_id does not default to app_firm()."


def _judge_unique_keys(subject: str, relation: Relation, key: str) -> Iterator[str]:
    if not any(unique.primary for unique in relation.unique_keys):
        yield f"{subject} has no primary key."
    for unique in relation.unique_keys:
        # The random public id of a firm may be unique by itself: it tells nothing of another firm.
        alone = relation.root == FIRM_TABLE and unique.columns == ("public_id",)
        if unique.columns[0] != key and not alone:
            what = "primary key" if unique.primary else f"unique key {unique.name}"
            yield f"{subject}: {what} does not start with {key}."


def _judge_foreign_key(
    subject: str, foreign_key: ForeignKey, relation: Relation, tenants: set[str]
) -> Iterator[str]:
    if foreign_key.target not in tenants:
        return
    pairs = list(zip(foreign_key.columns, foreign_key.target_columns, strict=True))
    if ("firm_id", "firm_id") not in pairs:
        yield f"{subject}: foreign key {foreign_key.name} to {foreign_key.target} goes without firm_id."
    if foreign_key.cascades:
        yield f"{subject}: foreign key {foreign_key.name} writes rows by itself, past the policies."


def _judge_untied(subject: str, relation: Relation) -> Iterator[str]:
    tied = {column for key in relation.foreign_keys for column in key.columns}
    for name, column in relation.columns.items():
        points = name.endswith("_id") and column.type in ("bigint", "integer", "smallint")
        declared = name == "firm_id" or (relation.root, name) in UNTIED_COLUMNS
        if points and name not in tied and not declared:
            yield f"{subject}: no foreign key ties {name}."


def _judge_policies(subject: str, relation: Relation, key: str) -> Iterator[str]:
    rule = FIRM_RULE.format(column=key)
    permissive = [policy for policy in relation.policies if policy.permissive]
    if not permissive:
        yield f"{subject} has no firm policy."
    for policy in permissive:
        rules = {policy.using, policy.check or policy.using}
        if policy.command != "*" or policy.roles != {"PUBLIC"} or rules != {rule}:
            yield f"{subject}: policy {policy.name} lets in more than (firm = the firm of the scope)."
    for policy in relation.policies:
        yield from _judge_calls(subject, policy)
    restrictive = [p for p in relation.policies if not p.permissive and p.roles >= LOGINS]
    yield from _judge_writers(subject, restrictive)
    yield from _judge_readers(subject, relation, restrictive)


def _judge_calls(subject: str, policy: Policy) -> Iterator[str]:
    for expression in (policy.using, policy.check):
        for called in CALL.findall(ONCE_A_STATEMENT.sub("", expression or "")):
            once = called in ("app_firm", "app_member", "app_role")
            yield f"{subject}: policy {policy.name} calls {called}() " + (
                "for every row and not as (SELECT …)." if once else "which is none of the wall's functions."
            )


def _judge_writers(subject: str, restrictive: list[Policy]) -> Iterator[str]:
    for code, command in COMMANDS.items():
        rules = [p.check if code == "a" else p.using for p in restrictive if p.command == code]
        if not any(rule and ROLES_RULE.fullmatch(rule) for rule in rules):
            yield f"{subject} has no policy that says which roles may {command}."


def _judge_readers(subject: str, relation: Relation, restrictive: list[Policy]) -> Iterator[str]:
    """A table is about one client, and then in somebody's book, or about the firm, with a list of its readers."""
    if relation.root in FIRM_WIDE:
        readers = FIRM_WIDE[relation.root]
        listed = "ARRAY[" + ", ".join(f"'{role}'::text" for role in readers) + "]"
        rule = f"(( SELECT app_role() AS app_role) = ANY ({listed}))"
        if readers and not any(p.command == "r" and p.using == rule for p in restrictive):
            yield f"{subject} is not closed to roles other than {', '.join(readers)}."
        return
    column = "id" if relation.root == CLIENT_TABLE else "client_id"
    if column not in relation.columns:
        yield f"{subject} has no client_id and is not in the list of firm-wide tables."
        return
    book = BOOK_RULE.format(column=column)
    rule = f"({book}{ADMINS_TOO})" if relation.root == CLIENT_TABLE else f"({book})"
    if not any(p.command == "*" and p.using == rule and p.check in (None, rule) for p in restrictive):
        yield f"{subject} has no book policy: its rows are not held to the clients one answers for."


def _judge_function(function: Function) -> Iterator[str]:
    subject = f"Function {function.signature}"
    if function.schema != "public" or function.signature.removeprefix("public.") not in FUNCTIONS:
        yield f"{subject} is not in the list of the wall's functions."
    elif function.body != BODIES[function.name]:
        yield f"{subject} does not have the body that this release ships."
    if function.owner != OWNER:
        yield f"{subject} belongs to {function.owner} and not to {OWNER}."
    if function.definer and not function.settings & set(PINNED_PATHS):
        yield f"{subject} is SECURITY DEFINER without a pinned search_path."
    callers = FUNCTIONS.get(function.signature.removeprefix("public."), frozenset()) | {OWNER}
    for grantee in sorted(function.grants.keys() - callers):
        yield f"{subject} may be called by {grantee}."


def _judge_container(container: Container) -> Iterator[str]:
    if container.owner != OWNER:
        yield f"{container.name} belongs to {container.owner} and not to {OWNER}."
    database = container.name.startswith("Database ")
    expected = CONTAINER_GRANTS.get("Database" if database else container.name, frozenset())
    allowed = {WEB: expected, WORKER: expected, MIGRATE: expected & {"CONNECT"}}
    for grantee, privileges in container.grants.items():
        excess = privileges - allowed.get(grantee, frozenset())
        if grantee != OWNER and excess:
            yield f"{container.name} grants {', '.join(sorted(excess))} to {grantee}."
