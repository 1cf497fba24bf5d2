"""Admins make, suspend and restore members; what a suspended member held is worth nothing from then on."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from advisors import services
from advisors.models import Assignment, Member, User
from advisors.scope import open_scope
from tests.cast import PASSWORD, Cast, CastFirm
from tests.conftest import signed_in_as
from tests.doors import at_once, bearer, browser, find_user, read_all, read_audit

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
FRESH = "a-quite-different-one-9"


def _add(client: Client, **changes: str) -> Any:
    data = {"name": "Nadia New", "email": "nadia@northgate.example", "role": "advisor"} | changes
    return client.post("/people/new", data)


def _link_in(page: bytes) -> str:
    found = re.search(r"/accounts/password/reset/key/[0-9A-Za-z]+-[0-9a-z]+-[0-9a-f]+", page.decode())
    assert found is not None
    return found[0]


def _open_link(link: str, password: str = FRESH) -> tuple[Client, Any]:
    """Follow the link and set the password, as the new member does."""
    client = Client()
    first = client.get(link)
    if first.status_code != 302:
        return client, first
    return client, client.post(first["Location"], {"password1": password, "password2": password})


def _suspend(firm: CastFirm, who: str, by: str = "admin") -> Any:
    return browser(firm, by).post(f"/people/{getattr(firm, who).public_id}/suspend")


def _may_sign_in(email: str, password: str) -> bool:
    client = Client()
    client.post("/accounts/login", {"login": email, "password": password})
    return "_auth_user_id" in client.session


def test_a_new_member_sets_a_password_by_the_link_and_signs_in(cast: Cast) -> None:
    page = _add(browser(cast.ours, "admin"))
    assert page.status_code == 200
    _, done = _open_link(_link_in(page.content))
    assert (done.status_code, done["Location"]) == (302, "/accounts/password/reset/key/done")
    assert _may_sign_in("nadia@northgate.example", FRESH)
    actions = [(action, origin) for action, origin, _, _ in read_audit(cast.ours)]
    assert actions == [("member added", "web"), ("password set", "web"), ("signed in", "web")]


def test_a_link_hides_its_key_from_the_page_it_leads_to(cast: Cast) -> None:
    link = _link_in(_add(browser(cast.ours, "admin")).content)
    answer = Client().get(link)
    assert answer["Location"].endswith("-set-password")
    assert answer["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("spoilt", ["reused", "cut", "other user", "no such user", "signed in since"])
def test_a_spoilt_link_sets_nothing(cast: Cast, spoilt: str) -> None:
    link = _link_in(_add(browser(cast.ours, "admin")).content)
    uid = link.rsplit("/", 1)[1].partition("-")[0]
    if spoilt in {"reused", "signed in since"}:
        _open_link(link, "the-first-one-taken-1")
    if spoilt == "signed in since":
        assert _may_sign_in("nadia@northgate.example", "the-first-one-taken-1")
    if spoilt == "cut":
        link = link[:-1]
    if spoilt == "other user":
        link = link.replace(f"/{uid}-", "/1-")
    if spoilt == "no such user":
        link = link.replace(f"/{uid}-", "/zzzzzz-")
    _, answer = _open_link(link)
    assert answer.status_code == 200
    assert not _may_sign_in("nadia@northgate.example", FRESH)
    assert not _may_sign_in(cast.ours.email("advisor"), FRESH)


def test_a_link_dies_with_its_account(cast: Cast) -> None:
    admin = browser(cast.ours, "admin")
    link = _link_in(_add(admin).content)
    user = User.objects.get(email="nadia@northgate.example")
    with open_scope(cast.ours.scope("admin")), transaction.atomic():
        public_id = Member.objects.get(user_id=user.pk).public_id
    admin.post(f"/people/{public_id}/suspend")
    _, answer = _open_link(link)
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/inactive")
    admin.post(f"/people/{public_id}/restore")
    assert not _may_sign_in("nadia@northgate.example", FRESH)


def test_a_taken_address_is_refused_in_the_same_words_whoever_has_it(cast: Cast) -> None:
    admin = browser(cast.ours, "admin")
    emails = [cast.ours.email("advisor"), cast.theirs.email("advisor"), cast.theirs.email("advisor").upper()]
    answers = [_add(admin, email=email) for email in emails]
    assert [answer.status_code for answer in answers] == [422] * 3
    pages = {re.sub(r'value="[^"]*"', "", answer.content.decode()) for answer in answers}
    assert len(pages) == 1
    assert "This address cannot be added" in pages.pop()
    assert read_audit(cast.ours) == []


def test_credentials_are_of_the_firm_in_force(cast: Cast) -> None:
    with open_scope(cast.ours.scope("admin")), pytest.raises(services.OtherFirm), transaction.atomic():
        services.add_member(
            firm_id=cast.theirs.id,
            name="Spy",
            email="spy@northgate.example",
            role="advisor",
            password=PASSWORD,
        )
    assert not User.objects.filter(email="spy@northgate.example").exists()


def test_a_role_we_do_not_have_is_refused(cast: Cast) -> None:
    before, admin = User.objects.count(), browser(cast.ours, "admin")
    for role in ("owner", "system", "superuser", "", "Admin"):
        assert _add(admin, role=role).status_code == 422
    assert User.objects.count() == before


def test_fields_nobody_asked_for_change_nothing(cast: Cast) -> None:
    extra = {
        "firm_id": str(cast.theirs.id),
        "is_active": "false",
        "id": "1",
        "public_id": "x",
        "user_id": "1",
    }
    assert _add(browser(cast.ours, "admin"), **extra).status_code == 200
    user = User.objects.get(email="nadia@northgate.example")
    assert (user.firm_id, user.is_active, user.role) == (cast.ours.id, True, "advisor")


def test_a_name_that_cannot_be_shown_is_refused(cast: Cast) -> None:
    admin = browser(cast.ours, "admin")
    hostile = ["", "   ", "a\x00b", "a\u202eb", "a\nb", "x" * 121, "x" * 1_000_000, "a\u200bb", "a\ue000b"]
    assert [_add(admin, name=name).status_code for name in hostile] == [422] * len(hostile)


def test_a_name_is_stored_as_it_is_and_shown_escaped(cast: Cast) -> None:
    admin = browser(cast.ours, "admin")
    names = ["null", "None", "true", "=1+1", "<script>alert(1)", "{{7*7}}", "' OR 1=1--", "Zoë", "%(x)s"]
    for number, name in enumerate(names):
        assert _add(admin, name=name, email=f"n{number}@northgate.example").status_code == 200
    with open_scope(cast.ours.scope("admin")), transaction.atomic():
        assert set(names) <= set(Member.objects.values_list("name", flat=True))
    shown = admin.get("/people").content.decode()
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert" in shown
    assert "{{7*7}}" in shown


def test_a_suspended_member_is_out_on_the_next_request(cast: Cast) -> None:
    with signed_in_as("worker"):
        token = services.create_read_token(
            email=cast.ours.email("advisor"), expires_at=timezone.now() + timedelta(days=1)
        )
    advisor = browser(cast.ours, "advisor")
    key = advisor.session.session_key
    assert advisor.get("/accounts/password/change").status_code == 200
    assert Client(headers=bearer(token)).get("/api/v1/clients").status_code == 200
    colleague = browser(cast.ours, "colleague")

    assert _suspend(cast.ours, "advisor").status_code == 302

    assert advisor.get("/accounts/password/change")["Location"].startswith("/accounts/login?")
    assert read_all("SELECT count(*) FROM django_session WHERE session_key = %s", key) == [(0,)]
    assert Client(headers=bearer(token)).get("/api/v1/clients").status_code == 401
    assert not _may_sign_in(cast.ours.email("advisor"), PASSWORD)
    assert colleague.get("/accounts/password/change").status_code == 200


def test_a_restored_member_signs_in_again_but_old_sessions_stay_dead(cast: Cast) -> None:
    advisor = browser(cast.ours, "advisor")
    _suspend(cast.ours, "advisor")
    browser(cast.ours, "admin").post(f"/people/{cast.ours.advisor.public_id}/restore")
    assert advisor.get("/accounts/password/change").status_code == 302
    assert _may_sign_in(cast.ours.email("advisor"), PASSWORD)


def test_suspending_twice_is_recorded_once(cast: Cast) -> None:
    for _ in range(2):
        assert _suspend(cast.ours, "advisor").status_code == 302
    assert [entry[0] for entry in read_audit(cast.ours)] == ["member suspended"]


def test_nobody_suspends_themselves(cast: Cast) -> None:
    with signed_in_as("worker"), open_scope(cast.ours.scope("admin")), transaction.atomic():
        services.add_member(
            firm_id=cast.ours.id,
            name="Second",
            email="second@northgate.example",
            role="admin",
            password=PASSWORD,
        )
    assert _suspend(cast.ours, "admin").status_code == 302
    assert find_user(cast.ours, "admin").is_active


def test_the_last_admin_stays(cast: Cast) -> None:
    with open_scope(cast.ours.scope("admin")), transaction.atomic(), pytest.raises(services.LastAdmin):
        services.set_member_suspended(
            public_id=cast.ours.admin.public_id, suspended=True, by=None, now=timezone.now()
        )
    assert find_user(cast.ours, "admin").is_active


@pytest.mark.parametrize("admins", [2, 3])
def test_admins_who_suspend_each_other_at_once_leave_one(cast: Cast, admins: int) -> None:
    firm = cast.ours
    members = [firm.admin]
    with signed_in_as("worker"), open_scope(firm.scope("admin")), transaction.atomic():
        members += [
            services.add_member(
                firm_id=firm.id, name=f"Admin {n}", email=f"a{n}@northgate.example", role="admin"
            )
            for n in range(1, admins)
        ]
    scope = firm.scope("admin")

    def suspend(actor: Any, target: Any) -> Callable[[], None]:
        def work() -> None:
            with open_scope(type(scope)(firm.id, actor.id, "admin")), transaction.atomic():
                services.set_member_suspended(
                    public_id=target.public_id, suspended=True, by=actor.id, now=timezone.now()
                )

        return work

    ring = [suspend(members[place], members[(place + 1) % admins]) for place in range(admins)]
    outcomes = at_once(*ring)
    refusals = (services.LastAdmin, services.NoLongerAdmin)
    assert all(error is None or isinstance(error, refusals) for error in outcomes)
    with open_scope(scope), transaction.atomic():
        active = Member.objects.filter(role="admin", suspended_at=None).count()
    assert active >= 1
    assert active == admins - outcomes.count(None)


def test_an_admin_cannot_be_given_clients(cast: Cast) -> None:
    admin = browser(cast.ours, "admin")
    data = {"client": str(cast.ours.client), "member": str(cast.ours.admin.public_id)}
    assert admin.post("/people/assignments/add", data).status_code == 302
    with open_scope(cast.ours.scope("admin")), transaction.atomic():
        assert not Assignment.objects.filter(member_id=cast.ours.admin.id).exists()
    assert read_audit(cast.ours) == []


def test_a_client_is_not_given_to_a_suspended_advisor(cast: Cast) -> None:
    _suspend(cast.ours, "colleague")
    data = {"client": str(cast.ours.client), "member": str(cast.ours.colleague.public_id)}
    browser(cast.ours, "admin").post("/people/assignments/add", data)
    with open_scope(cast.ours.scope("admin")), transaction.atomic():
        assert not Assignment.objects.filter(
            client_id=cast.ours.client_id, member_id=cast.ours.colleague.id
        ).exists()


@pytest.mark.parametrize("verb", ["add", "end"])
def test_assigning_across_firms_is_not_found_and_does_nothing(cast: Cast, verb: str) -> None:
    admin = browser(cast.ours, "admin")
    pairs = [
        (cast.ours.client, cast.theirs.advisor.public_id),
        (cast.theirs.client, cast.ours.advisor.public_id),
        (cast.theirs.client, cast.theirs.colleague.public_id),
        ("00000000-0000-4000-8000-000000000000", cast.ours.advisor.public_id),
        ("not-an-id", "neither"),
    ]
    answers = [
        admin.post(f"/people/assignments/{verb}", {"client": str(client), "member": str(member)})
        for client, member in pairs
    ]
    assert [answer.status_code for answer in answers] == [404] * len(pairs)
    assert len({answer.content for answer in answers}) == 1
    assert read_audit(cast.ours) == read_audit(cast.theirs) == []


def test_reassigning_takes_effect_on_the_next_read(cast: Cast) -> None:
    admin, colleague = browser(cast.ours, "admin"), browser(cast.ours, "colleague")
    address = f"/clients/{cast.ours.client}/edit"
    data = {"client": str(cast.ours.client), "member": str(cast.ours.colleague.public_id)}
    assert colleague.get(address).status_code == 404
    admin.post("/people/assignments/add", data)
    assert colleague.get(address).status_code == 200
    admin.post("/people/assignments/end", data)
    assert colleague.get(address).status_code == 404
    assert colleague.post(address, {"name": "Mine", "reference": "MINE"}).status_code == 404
    assert [entry[0] for entry in read_audit(cast.ours)] == ["client assigned", "assignment ended"]


def test_assigning_the_same_client_many_times_at_once_assigns_it_once(cast: Cast) -> None:
    def assign() -> None:
        with open_scope(cast.ours.scope("admin")), transaction.atomic():
            services.assign_client(
                client_public_id=cast.ours.client, member_public_id=cast.ours.colleague.public_id, now=NOW
            )

    assert at_once(*[assign] * 6) == [None] * 6
    assert [entry[0] for entry in read_audit(cast.ours)] == []
    rows = "SELECT count(*) FROM advisors_assignment WHERE client_id = %s AND member_id = %s"
    assert read_all(rows, cast.ours.client_id, cast.ours.colleague.id) == [(1,)]


def test_a_reference_is_taken_once_in_a_firm_and_free_in_another(cast: Cast) -> None:
    data = {"name": "Second", "reference": "SECOND"}
    assert browser(cast.ours, "advisor").post("/clients/new", data).status_code == 302
    assert browser(cast.ours, "colleague").post("/clients/new", data).status_code == 422
    assert browser(cast.theirs, "advisor").post("/clients/new", data).status_code == 302
    assert [entry[0] for entry in read_audit(cast.ours)] == ["client created"]


def test_an_edit_that_changes_nothing_is_not_recorded(cast: Cast) -> None:
    advisor = browser(cast.ours, "advisor")
    address = f"/clients/{cast.ours.client}/edit"
    for data in ({"name": "New name", "reference": "NEW"}, {"name": "New name", "reference": "NEW"}):
        assert advisor.post(address, data).status_code == 302
    entries = read_all("SELECT before, after FROM advisors_auditentry WHERE action = 'client edited'")
    assert entries == [
        ({"name": "client of Northgate", "reference": "CLIENT"}, {"name": "New name", "reference": "NEW"})
    ]
