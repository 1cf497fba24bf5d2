"""Sealed days as ways into the past, and figures of minutes whose single marks are gone."""

from datetime import date, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import connection
from django.test import Client

from advisors.jobs import firm_scope
from advisors.moment import read_moment
from margin.services.days import seal_day
from margin.views.days import PAGE_DAYS
from tests import doors
from tests.cast import Cast
from tests.conftest import signed_in_as, superuser_connection
from tests.past_story import Reader, Story, at, get, make_story


@pytest.fixture
def story(cast: Cast) -> Story:
    return make_story(cast)


def seal(story: Story, day: date) -> None:
    with signed_in_as("worker"), firm_scope(story.book.cast.ours.id):
        seal_day(day, story.moment)


def test_a_sealed_day_leads_to_its_end_and_names_another_engine(story: Story) -> None:
    assert "No day has been sealed yet" in get(story.browser(), "/days")
    first, second = date(2026, 3, 1), date(2026, 3, 2)
    seal(story, first)
    seal(story, second)
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute("ALTER TABLE margin_sealedday DISABLE TRIGGER USER")
        inside.execute("UPDATE margin_sealedday SET engine_version = '0.9' WHERE day = %s", [first])
    shown = Reader(get(story.browser(), "/days"))
    rows = [element for element in shown.elements if element.tag == "tr" and "2026" in element.text]
    assert ["Mar 2026" in row.text for row in rows] == [True, True]
    assert ["not today’s" in row.text for row in rows] == [False, True]
    for row in rows:
        (link,) = (each.attributes["href"] for each in row.inner if each.tag == "a")
        assert urlsplit(link).path == "/positions"
        then = get(story.browser(), link)
        assert read_moment(dict(parse_qsl(urlsplit(link).query))["as_of"]) == story.moment
        assert f"p-{story.book.positions['close']}" in then
        assert f"p-{story.book.positions['later']}" not in then


def test_days_are_counted_over_the_clients_in_force(story: Story) -> None:
    seal(story, date(2026, 3, 1))

    def counted(client: Client) -> list[str]:
        shown = Reader(get(client, "/days"))
        (row,) = (element for element in shown.elements if element.tag == "tr" and "2026" in element.text)
        return [cell.text for cell in row.inner if cell.attributes.get("class") == "num"]

    assert counted(story.browser("advisor")) == ["2", "0"]
    assert counted(story.browser("compliance")) == ["3", "0"]
    assert "Mar 2026" not in get(doors.browser(story.book.cast.theirs, "advisor"), "/days")
    assert story.browser("admin").get("/days").status_code == 403


def test_days_are_listed_a_page_at_a_time(story: Story) -> None:
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(PAGE_DAYS + 2)]
    for day in days:
        seal(story, day)
    client = story.browser()
    first = get(client, "/days")
    (earlier,) = (
        e.attributes["href"] for e in Reader(first).elements if e.text == "Earlier days" and e.tag == "a"
    )
    last = get(client, earlier)
    listed = [f"{day:%a} {day.day} {day:%b %Y}" for day in days]
    assert [text in first for text in listed] == [False, False, *[True] * PAGE_DAYS]
    assert [text in last for text in listed] == [True, True, *[False] * PAGE_DAYS]
    assert "Earlier days" not in last
    for query in ("?before=x", "?before=2026-13-01", "?before=%00"):
        assert client.get(f"/days{query}").status_code == 404


THIN_ALL = """
WITH gone AS (DELETE FROM margin_marktick RETURNING *)
INSERT INTO margin_markcandle (instrument_id, minute_at, open_price, high_price, low_price, close_price, ticks, source,
    sequence, closed_at, received_at)
SELECT instrument_id, date_trunc('minute', source_at), price, high_price, low_price, price, 1, source, sequence,
    source_at, received_at
FROM (SELECT DISTINCT ON (instrument_id, date_trunc('minute', source_at)) * FROM gone
      WHERE received_at <= %s ORDER BY instrument_id, date_trunc('minute', source_at), source_at DESC) last
"""


def test_a_figure_of_a_thinned_minute_says_so(story: Story) -> None:
    client = story.browser()
    addresses = [
        at(address, story.moment) for address in (f"/positions/{story.book.positions['close']}", "/positions")
    ]
    for address in addresses:
        assert "full resolution is kept" not in get(client, address).lower()
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute(THIN_ALL, [story.moment])
    for address in addresses:
        shown = get(client, address)
        assert "ull resolution is kept for 90 days" in shown
        assert "2,921.68" in shown
