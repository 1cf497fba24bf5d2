"""Files of clients: each line makes one, assigned to the advisor who imports it, or repeats one that is there."""

from dataclasses import dataclass
from uuid import uuid4

from django.db import IntegrityError, connection, transaction
from django.db.models import TextField

from advisors.models import Client
from portfolios.importing import ClientLine, Problems
from portfolios.models import ImportBatch
from portfolios.services.bulk import is_any_of
from portfolios.services.imports.previews import SHOWN_LINES, BookChanged, ClientPreview, Counts, Written

CLIENTS_A_STATEMENT = 500
CREATE_CLIENTS = """
SELECT count(app_create_client(n.public_id, n.name, n.reference))
FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS n (public_id, name, reference)
"""
TAKEN = "The firm already has a client with the reference '{}', and it is none of yours."


@dataclass(frozen=True, slots=True)
class ClientsPlan:
    lines: list[ClientLine]
    there: dict[str, str]

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    @property
    def new(self) -> list[ClientLine]:
        return [line for line in self.lines if line.reference not in self.there]

    @property
    def counts(self) -> Counts:
        new = len(self.new)
        return Counts(opened=new, unchanged=len(self.lines) - new)

    def preview(self) -> tuple[ClientPreview, ...]:
        return tuple(
            ClientPreview(
                line=line.line,
                effect="there already" if line.reference in self.there else "created",
                reference=line.reference,
                name=line.name,
            )
            for line in self.lines[:SHOWN_LINES]
        )

    def write(self, batch: ImportBatch) -> Written:
        try:
            with transaction.atomic():
                _create(self.new)
        except IntegrityError as error:
            raise BookChanged from error
        return Written(0, 0, {"clients": [line.reference for line in self.new]})


def plan_clients(lines: list[ClientLine], problems: Problems) -> ClientsPlan:
    plan = ClientsPlan(lines, _read_names(lines))
    for line in lines:
        _compare(line, plan.there, problems)
    if not problems.count:
        _refuse_taken(plan, problems)
    return plan


def _read_names(lines: list[ClientLine]) -> dict[str, str]:
    references = [line.reference for line in lines]
    found = Client.objects.filter(is_any_of("reference", references, TextField()))
    return dict(found.values_list("reference", "name"))


def _compare(line: ClientLine, there: dict[str, str], problems: Problems) -> None:
    name = there.get(line.reference, line.name)
    if name != line.name:
        problems.add(
            line.line,
            "name",
            f"The client '{line.reference}' is there already as '{name}' and not as '{line.name}': "
            "change the name on the client's page.",
        )


def _refuse_taken(plan: ClientsPlan, problems: Problems) -> None:
    """A colleague's reference cannot be read, only bumped into: tried, and taken back again."""
    new = plan.new
    for start in range(0, len(new), CLIENTS_A_STATEMENT):
        chunk = new[start : start + CLIENTS_A_STATEMENT]
        if _may_be_created(chunk):
            continue
        # Perhaps the same file was taken in a moment ago: then they are here now.
        plan.there.update(_read_names(chunk))
        for line in chunk:
            if line.reference in plan.there:
                _compare(line, plan.there, problems)
            elif not _may_be_created([line]):
                problems.add(line.line, "reference", TAKEN.format(line.reference))


def _may_be_created(lines: list[ClientLine]) -> bool:
    try:
        with transaction.atomic():
            _create(lines)
            transaction.set_rollback(True)
    except IntegrityError:
        return False
    return True


def _create(lines: list[ClientLine]) -> None:
    values = (
        [uuid4() for _ in lines],
        [line.name for line in lines],
        [line.reference for line in lines],
    )
    with connection.cursor() as cursor:
        cursor.execute(CREATE_CLIENTS, values)
