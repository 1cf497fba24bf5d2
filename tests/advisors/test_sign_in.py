"""Signing in: by e-mail and password, slowly for those who guess, and never into another place than ours."""

import re

from django.conf import settings
from django.core import mail
from django.test import Client

from advisors.models import User
from tests.cast import PASSWORD, Cast
from tests.doors import at_once, browser, find_user, read_all, read_audit

LOGIN = "/accounts/login"
WRONG = "not-the-password-1"


def _sign_in(
    client: Client, email: str, password: str = PASSWORD, next_url: str | None = None, **headers: str
):
    data = {"login": email, "password": password} | ({} if next_url is None else {"next": next_url})
    return client.post(LOGIN, data, headers=headers or None)


def _is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_login_lets_a_member_in_and_leaves_an_entry(cast: Cast) -> None:
    expected = []
    for role in ("advisor", "compliance", "admin"):
        client = Client()
        answer = _sign_in(client, cast.ours.email(role).upper())
        assert (answer.status_code, answer["Location"]) == (302, "/")
        assert _is_signed_in(client)
        member = getattr(cast.ours, role)
        expected.append(("signed in", "web", str(member.public_id), member.id))
    assert read_audit(cast.ours) == expected
    assert read_audit(cast.theirs) == []


def test_login_answers_a_wrong_password_and_an_unknown_address_alike(cast: Cast) -> None:
    known = _sign_in(Client(), cast.ours.email("advisor"), WRONG)
    unknown = _sign_in(Client(), "nobody@nowhere.example", WRONG)
    assert known.status_code == unknown.status_code == 200

    def without_what_was_typed(page: bytes) -> str:
        text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"', "", page.decode())
        return text.replace(cast.ours.email("advisor"), "").replace("nobody@nowhere.example", "")

    assert without_what_was_typed(known.content) == without_what_was_typed(unknown.content)
    member = cast.ours.advisor
    assert read_audit(cast.ours) == [("sign-in failed", "web", str(member.public_id), member.id)]


def test_login_refuses_a_suspended_member(cast: Cast) -> None:
    User.objects.filter(email=cast.ours.email("advisor")).update(
        is_active=False, disabled_at="2026-01-01T00:00Z"
    )
    client = Client()
    answer = _sign_in(client, cast.ours.email("advisor"))
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/inactive")
    assert not _is_signed_in(client)
    assert [entry[0] for entry in read_audit(cast.ours)] == ["sign-in refused"]


def test_login_stops_guessing_at_one_account_from_any_address(cast: Cast) -> None:
    email = cast.ours.email("advisor")
    for guess in range(5):
        headers = {"X-Forwarded-For": f"10.0.0.{guess}", "X-Real-IP": f"10.0.1.{guess}"}
        assert _sign_in(Client(), email, f"{WRONG}{guess}", **headers).status_code == 200
    assert read_all("SELECT count(*) > 0 FROM config_cache") == [(True,)]
    client = Client()
    refused = _sign_in(client, email, PASSWORD, **{"X-Forwarded-For": "10.9.9.9"})
    assert b"Too many failed login attempts" in refused.content
    assert not _is_signed_in(client)
    assert len(read_audit(cast.ours)) == 5
    # Somebody else of the same firm is not locked out by it.
    other = Client()
    _sign_in(other, cast.ours.email("colleague"))
    assert _is_signed_in(other)


def test_login_counts_guesses_that_come_at_once(cast: Cast) -> None:
    def guess() -> None:
        _sign_in(Client(), cast.ours.email("advisor"), WRONG)

    assert at_once(*[guess] * 12) == [None] * 12
    assert len(read_audit(cast.ours)) <= 5


def test_login_stops_one_address_that_tries_many_accounts(cast: Cast) -> None:
    for guess in range(10):
        assert _sign_in(Client(), f"nobody{guess}@nowhere.example", WRONG).status_code == 200
    client = Client()
    refused = _sign_in(client, cast.ours.email("advisor"))
    assert b"Too many failed login attempts" in refused.content
    assert not _is_signed_in(client)


def test_login_is_asked_only_so_often_from_one_address(cast: Cast) -> None:
    client = Client()
    answers = [client.post(LOGIN, {"login": "no address"}) for _ in range(61)]
    assert [answer.status_code for answer in answers] == [200] * 60 + [429]
    assert int(answers[-1]["Retry-After"]) > 0


def test_login_refuses_what_is_no_password(cast: Cast) -> None:
    client = Client()
    for password in ("x" * 1025, "x" * 1_000_000, "a\x00b", "", "\ud7ff" * 900):
        assert _sign_in(client, cast.ours.email("advisor"), password).status_code == 200
    assert not _is_signed_in(client)


HOSTILE_NEXT = [
    "//evil.example",
    "https:evil.example",
    "/\\evil.example",
    "\x08//evil.example",
    "javascript:alert(1)",
    "https://localhost@evil.example",
    "https://evil.example/",
    "///evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\\\\evil.example",
    "http:///evil.example",
    "https://localhost:8000/positions",
    "data:text/html,x",
    " //evil.example",
    "",
]


def test_login_goes_home_when_told_to_go_elsewhere(cast: Cast) -> None:
    went = {}
    for hostile in HOSTILE_NEXT:
        answer = _sign_in(Client(), cast.ours.email("advisor"), next_url=hostile)
        went[hostile] = (answer.status_code, answer["Location"])
    assert went == dict.fromkeys(HOSTILE_NEXT, (302, "/"))


def test_login_goes_on_to_the_page_that_asked_for_it(cast: Cast) -> None:
    answer = _sign_in(Client(), cast.ours.email("advisor"), next_url="/positions")
    assert answer["Location"] == "/positions"


def test_login_makes_a_new_session_key(cast: Cast) -> None:
    client = Client()
    session = client.session
    session["planted"] = "by somebody who knows the key"
    session.save()
    planted = str(session.session_key)
    client.cookies[settings.SESSION_COOKIE_NAME] = planted
    _sign_in(client, cast.ours.email("advisor"))
    assert client.session.session_key != planted
    assert read_all("SELECT count(*) FROM django_session WHERE session_key = %s", planted) == [(0,)]


def test_login_as_another_keeps_nothing_of_the_first(cast: Cast) -> None:
    client = browser(cast.ours, "advisor")
    session = client.session
    session["first"] = "secret"
    session.save()
    client.get("/accounts/logout")
    client.post("/accounts/logout")
    _sign_in(client, cast.theirs.email("advisor"))
    assert "first" not in client.session


def test_logout_ends_the_session_in_the_database(cast: Cast) -> None:
    client = browser(cast.ours, "advisor")
    key = str(client.session.session_key)
    assert client.post("/accounts/logout")["Location"] == LOGIN
    assert read_all("SELECT count(*) FROM django_session WHERE session_key = %s", key) == [(0,)]
    client.cookies[settings.SESSION_COOKIE_NAME] = key
    assert client.get("/clients").status_code == 302


def test_a_made_up_session_is_nobody(cast: Cast) -> None:
    client = Client()
    for key in ("x", "x" * 8000, "../../etc", "0" * 32):
        client.cookies[settings.SESSION_COOKIE_NAME] = key
        assert client.get("/clients").status_code == 302


def test_signup_is_closed(cast: Cast) -> None:
    before = User.objects.count()
    data = {"email": "new@nowhere.example", "password1": PASSWORD, "password2": PASSWORD}
    for answer in (Client().get("/accounts/signup"), Client().post("/accounts/signup", data)):
        assert (answer.status_code, answer["Location"]) == (302, LOGIN)
    assert User.objects.count() == before


def test_login_page_takes_no_post_without_its_token(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    assert _sign_in(client, cast.ours.email("advisor")).status_code == 403
    assert not _is_signed_in(client)


def test_reset_mail_goes_to_members_only_and_names_our_own_host(cast: Cast) -> None:
    answers = [
        Client().post("/accounts/password/reset", {"email": email}, headers={"Host": "127.0.0.1:9"})
        for email in (cast.ours.email("advisor"), "nobody@nowhere.example")
    ]
    assert [(a.status_code, a["Location"]) for a in answers] == [(302, "/accounts/password/reset/done")] * 2
    assert answers[0].content == answers[1].content
    assert [message.to for message in mail.outbox] == [[cast.ours.email("advisor")]]
    body = str(mail.outbox[0].body)
    assert f"{settings.BASE_URL}/accounts/password/reset/key/" in body
    assert ":9/" not in body


def test_changing_the_password_ends_every_other_session(cast: Cast) -> None:
    here, there = browser(cast.ours, "advisor"), browser(cast.ours, "advisor")
    fresh = "a-quite-different-one-9"
    answer = here.post(
        "/accounts/password/change", {"oldpassword": PASSWORD, "password1": fresh, "password2": fresh}
    )
    assert answer.status_code == 302
    assert here.get("/accounts/password/change").status_code == 200
    assert there.get("/clients").status_code == 302
    member = cast.ours.advisor
    assert read_audit(cast.ours) == [("password set", "web", str(member.public_id), member.id)]
    assert find_user(cast.ours, "advisor").check_password(fresh)


def test_a_weak_password_is_refused(cast: Cast) -> None:
    client = browser(cast.ours, "advisor")
    for password in ("short", "password12345", cast.ours.email("advisor")):
        data = {"oldpassword": PASSWORD, "password1": password, "password2": password}
        assert client.post("/accounts/password/change", data).status_code == 200
    assert find_user(cast.ours, "advisor").check_password(PASSWORD)
