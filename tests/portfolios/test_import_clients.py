"""Files of clients: made for whoever imports them, and never twice."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from advisors.models import Client
from portfolios import services
from portfolios.services.imports.previews import Counts
from tests.portfolios.acting import acting_as, in_threads, problems_of, stored, take_in
from tests.portfolios.files import make_clients, make_file


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


def clients_of(firm, role="advisor"):
    with acting_as(firm, role):
        return dict(Client.objects.order_by("id").values_list("reference", "name"))


def test_clients_are_made_and_assigned_to_whoever_imports_them(firm):
    result = take_in(firm, make_clients(("N1", "Ada"), ("N2", "=Böses & Co")))
    assert (result.kind, result.opened, result.sentence) == ("clients", 2, "2 clients created, 0 unchanged.")
    assert {"N1": "Ada", "N2": "=Böses & Co"}.items() <= clients_of(firm).items()
    assert "N1" not in clients_of(firm, "colleague")
    # And positions can be imported for them at once.
    assert take_in(firm, make_file({"client": "N1"})).opened == 1


def test_preview_makes_nobody(firm):
    before = clients_of(firm, "compliance")
    with acting_as(firm):
        preview = services.preview_import(make_clients(("N1", "Ada"), ("CLIENT", "client of Northgate")))
    assert preview.counts == Counts(opened=1, unchanged=1)
    assert [line.effect for line in preview.lines] == ["created", "there already"]
    assert clients_of(firm, "compliance") == before


def test_same_file_twice_changes_nothing(firm):
    content = make_clients(("N1", "Ada"), ("N2", "Bo"))
    take_in(firm, content)
    before = clients_of(firm, "compliance")
    assert take_in(firm, content).unchanged == 2
    assert clients_of(firm, "compliance") == before


def test_two_uploads_in_parallel_make_each_client_once(firm):
    content = make_clients(("N1", "Ada"), ("N2", "Bo"))
    made = []

    def work(number):
        with acting_as(firm):
            batch = stored(content)
        with acting_as(firm):
            made.append(services.commit_import(batch).opened)

    in_threads(work, 2)
    assert sorted(made) == [0, 2]


def test_another_name_is_a_problem_that_names_both(firm):
    ((line, column, message),) = problems_of(firm, make_clients(("N1", "Ada"), ("CLIENT", "Someone else")))
    assert (line, column) == (3, "name")
    assert "'client of Northgate'" in message
    assert "'Someone else'" in message


def test_reference_of_a_colleagues_client_is_taken(firm):
    before = clients_of(firm, "compliance")
    found = problems_of(firm, make_clients(("N1", "Ada"), ("OTHER_CLIENT", "Mine now"), ("N2", "Bo")))
    assert [(line, column) for line, column, _ in found] == [(3, "reference")]
    assert "other_client" not in found[0][2]
    assert clients_of(firm, "compliance") == before


def test_references_of_another_firm_are_free(shelves, firm):
    take_in(firm, make_clients(("N1", "Ada")))
    assert take_in(shelves.theirs.firm, make_clients(("N1", "Eve"))).opened == 1
    assert clients_of(firm)["N1"] == "Ada"


def test_as_many_queries_for_thirty_clients_as_for_three(firm):
    counts = []
    for rows in (3, 30):
        content = make_clients(*((f"{rows}-{place}", f"Client {place}") for place in range(rows)))
        with acting_as(firm):
            with CaptureQueriesContext(connection) as captured:
                services.commit_import(stored(content))
            counts.append(len(captured))
    assert counts[0] == counts[1]
