"""What a database says of itself: relations, keys, policies, functions and grants, read from pg_catalog alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

Grantees = dict[str, frozenset[str]]


class Cursor(Protocol):
    """What is asked of a cursor, Django's or the driver's own."""

    def execute(self, query: Any, /) -> Any: ...
    def fetchall(self) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Column:
    type: str
    required: bool
    default: str | None
    granted: bool


@dataclass(frozen=True, slots=True)
class UniqueKey:
    name: str
    primary: bool
    columns: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    name: str
    target: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    cascades: bool


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    permissive: bool
    command: str
    roles: frozenset[str]
    using: str | None
    check: str | None


@dataclass(slots=True)
class Relation:
    """A table, view, materialised view, foreign table or sequence; root is the topmost table of a partition.

    divided_by is the key of a table with partitions, bounds what a partition holds.
    """

    schema: str
    name: str
    kind: str
    owner: str
    secured: bool
    forced: bool
    options: frozenset[str]
    root: str
    divided_by: str | None
    bounds: str | None
    grants: Grantees
    columns: dict[str, Column] = field(default_factory=dict)
    unique_keys: list[UniqueKey] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Function:
    schema: str
    signature: str
    name: str
    owner: str
    definer: bool
    settings: frozenset[str]
    body: str
    grants: Grantees


@dataclass(frozen=True, slots=True)
class Container:
    """The database, its schema, or the privileges that tables not made yet will come with."""

    name: str
    owner: str
    grants: Grantees


@dataclass(frozen=True, slots=True)
class Facts:
    relations: list[Relation]
    functions: list[Function]
    containers: list[Container]
    # Names of what is not expected to be there at all.
    strangers: list[str]


# Objects numbered from 16384 on were made after the cluster was: they are ours to answer for.
RELATIONS = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, pg_get_userbyid(c.relowner)::text,
    c.relrowsecurity, c.relforcerowsecurity, coalesce(c.reloptions, '{}')::text[],
    coalesce(r.relname, c.relname)::text, CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END,
    pg_get_expr(c.relpartbound, c.oid), coalesce(c.relacl,
        acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner))::text[]
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class r ON c.relispartition AND r.oid = pg_partition_root(c.oid)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND c.oid >= 16384
"""
COLUMNS = """
SELECT a.attrelid::int8, a.attname::text, format_type(a.atttypid, NULL), a.attnotnull,
    pg_get_expr(d.adbin, d.adrelid), a.attacl IS NOT NULL
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid >= 16384
"""
UNIQUE_KEYS = """
SELECT i.indrelid::int8, k.relname::text, i.indisprimary, ARRAY(
    SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY u (number, place)
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number AND u.number > 0 ORDER BY u.place)
FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid
WHERE (i.indisunique OR i.indisexclusion) AND i.indrelid >= 16384
"""
FOREIGN_KEYS = """
SELECT f.conrelid::int8, f.conname::text, t.relname::text,
    ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY u (number, place)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.number ORDER BY u.place),
    ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY u (number, place)
        JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = u.number ORDER BY u.place),
    NOT (f.confdeltype IN ('a', 'r') AND f.confupdtype IN ('a', 'r'))
FROM pg_constraint f JOIN pg_class t ON t.oid = f.confrelid WHERE f.contype = 'f'
"""
POLICIES = """
SELECT p.polrelid::int8, p.polname::text, p.polpermissive, p.polcmd::text,
    ARRAY(SELECT coalesce(g.rolname, 'PUBLIC')::text FROM unnest(p.polroles) r LEFT JOIN pg_roles g ON g.oid = r),
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
FROM pg_policy p
"""
TRIGGERS = "SELECT tgrelid::int8, tgname::text FROM pg_trigger WHERE NOT tgisinternal"
RULES = "SELECT ev_class::int8, rulename::text FROM pg_rewrite WHERE rulename <> '_RETURN'"
FUNCTIONS = """
SELECT n.nspname::text, p.oid::regprocedure::text, p.proname::text, pg_get_userbyid(p.proowner)::text, p.prosecdef,
    coalesce(p.proconfig, '{}')::text[], p.prosrc, coalesce(p.proacl, acldefault('f', p.proowner))::text[]
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid >= 16384
"""
CONTAINERS = """
SELECT 'Database ' || d.datname, pg_get_userbyid(d.datdba)::text, coalesce(d.datacl, acldefault('d', d.datdba))::text[]
FROM pg_database d WHERE d.datname = current_database()
UNION ALL
SELECT 'Schema public', pg_get_userbyid(n.nspowner)::text, coalesce(n.nspacl, acldefault('n', n.nspowner))::text[]
FROM pg_namespace n WHERE n.nspname = 'public'
UNION ALL
SELECT 'Default privileges on ' || CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences'
    WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' ELSE 'schemas' END,
    pg_get_userbyid(d.defaclrole)::text, d.defaclacl::text[]
FROM pg_default_acl d
"""
STRANGERS = """
SELECT format('Schema %I', nspname) FROM pg_namespace WHERE oid >= 16384 AND NOT starts_with(nspname, 'pg_t')
UNION ALL SELECT format('Extension %I', extname) FROM pg_extension WHERE extname <> 'plpgsql'
UNION ALL SELECT format('Event trigger %I', evtname) FROM pg_event_trigger
UNION ALL SELECT format('Foreign server %I', srvname) FROM pg_foreign_server
UNION ALL SELECT format('Role %I with the rights of %I', m.rolname, r.rolname)
    FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid
    WHERE m.rolname IN ('bulkhead_web', 'bulkhead_worker')
UNION ALL SELECT format('Role %I with rights over the server', rolname) FROM pg_roles
    WHERE rolname IN ('bulkhead_owner', 'bulkhead_web', 'bulkhead_worker', 'bulkhead_migrate')
    AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)
UNION ALL SELECT format('Role %I with a login', rolname) FROM pg_roles
    WHERE rolname = 'bulkhead_owner' AND rolcanlogin
"""
# The letters in which a catalogue writes privileges.
LETTERS = {
    "r": "SELECT",
    "a": "INSERT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "m": "MAINTAIN",
    "X": "EXECUTE",
    "U": "USAGE",
    "C": "CREATE",
    "c": "CONNECT",
    "T": "TEMPORARY",
    "*": "the right to grant",
}


def _rows(cursor: Cursor, query: str) -> Iterator[tuple[Any, ...]]:
    cursor.execute(query)
    yield from cursor.fetchall()


def _grantees(entries: list[str]) -> Grantees:
    """From entries like role=letters/grantor, where no role means everybody."""
    found: Grantees = {}
    for entry in entries:
        grantee, _, letters = entry.rpartition("/")[0].rpartition("=")
        privileges = frozenset(LETTERS.get(letter, letter) for letter in letters)
        name = grantee.strip('"') or "PUBLIC"
        found[name] = found.get(name, frozenset()) | privileges
    return found


def _read_relations(cursor: Cursor) -> dict[int, Relation]:
    relations = {
        oid: Relation(*(*head, frozenset(options), root, divided_by, bounds, _grantees(acl)))
        for oid, *head, options, root, divided_by, bounds, acl in _rows(cursor, RELATIONS)
    }

    def each(query: str) -> Iterator[tuple[Any, ...]]:
        # What belongs to a relation that another session drops meanwhile is passed over with it.
        yield from ((relations[oid], *rest) for oid, *rest in _rows(cursor, query) if oid in relations)

    for relation, name, *column in each(COLUMNS):
        relation.columns[name] = Column(*column)
    for relation, name, primary, columns in each(UNIQUE_KEYS):
        relation.unique_keys.append(UniqueKey(name, primary, tuple(columns)))
    for relation, name, target, columns, target_columns, cascades in each(FOREIGN_KEYS):
        key = ForeignKey(name, target, tuple(columns), tuple(target_columns), cascades)
        relation.foreign_keys.append(key)
    for relation, name, permissive, command, roles, using, check in each(POLICIES):
        policy = Policy(name, permissive, command, frozenset(roles), _plain(using), _plain(check))
        relation.policies.append(policy)
    for relation, name in each(TRIGGERS):
        relation.triggers.append(name)
    for relation, name in each(RULES):
        relation.rules.append(name)
    return relations


def _plain(expression: str | None) -> str | None:
    """One line, and no schema, which the server prints or not by the reader's search_path."""
    return None if expression is None else " ".join(expression.split()).replace("public.", "")


def read_facts(cursor: Cursor) -> Facts:
    return Facts(
        relations=list(_read_relations(cursor).values()),
        functions=[
            Function(*(*head, frozenset(settings), body, _grantees(acl)))
            for *head, settings, body, acl in _rows(cursor, FUNCTIONS)
        ],
        containers=[Container(*(*head, _grantees(acl))) for *head, acl in _rows(cursor, CONTAINERS)],
        strangers=[name for (name,) in _rows(cursor, STRANGERS)],
    )
