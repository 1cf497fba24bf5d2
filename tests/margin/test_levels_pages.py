"""The page of what the states mean, and the form that changes their levels: shown, previewed, saved, refused."""

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.moment import moment_text
from margin.engine.states import DEFAULT_THRESHOLDS, Thresholds
from tests.cast import Cast
from tests.doors import browser
from tests.margin.levels_stage import REASON, STRICT, all_levels, in_force, previewed, set_as, typed
from tests.margin.priced_book import Book

PAGE, FORM = "/levels", "/levels/set"


def text_of(answer: Any) -> str:
    return " ".join(unescape(answer.content.decode()).split())


def test_page_says_what_each_state_means_and_how_many_there_are(book: Book) -> None:
    text = text_of(browser(book.cast.ours, "advisor").get(PAGE))
    for word in ("Liquidatable", "Critical", "Danger", "Unknown", "Stale", "Watch", "OK"):
        assert f"</svg>{word}</span>" in text
    assert "Maintenance used is over 90 %, or liquidation is less than 0.5 daily σ away." in text
    assert "Northgate has set none of its own" in text
    assert "What every firm begins with" in text
    # The advisor's two: one ok, one critical.
    assert "; 2 open positions" in text
    assert 'href="/positions?state=critical">1 position</a>' in text


def test_only_compliance_is_offered_the_form(book: Book) -> None:
    assert FORM in text_of(browser(book.cast.ours, "compliance").get(PAGE))
    assert FORM not in text_of(browser(book.cast.ours, "advisor").get(PAGE))


def test_preview_shows_the_whole_firm_and_saves_nothing(book: Book) -> None:
    compliance = browser(book.cast.ours, "compliance")
    answer = compliance.post(FORM, typed())
    text = text_of(answer)
    assert answer.status_code == 200
    assert "2 of 3 positions would get worse, 0 better" in text
    assert 'value="save"' in text
    assert in_force(book.cast.ours).recorded_at is None


def test_levels_are_saved_once_their_effect_was_seen(book: Book) -> None:
    compliance = browser(book.cast.ours, "compliance")
    answer = compliance.post(FORM, previewed())
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    assert in_force(book.cast.ours).thresholds == STRICT
    text = text_of(compliance.get(PAGE))
    assert "states follow with the next computation" in text
    assert "3 positions computed earlier show as stale" in text
    assert REASON in text
    book.recompute()
    assert "computed earlier" not in text_of(compliance.get(PAGE))


def test_other_numbers_than_those_previewed_are_shown_first(book: Book) -> None:
    answer = browser(book.cast.ours, "compliance").post(FORM, previewed() | {"watch_ratio": "50"})
    assert "not those you had seen the effect of" in text_of(answer)
    assert in_force(book.cast.ours).recorded_at is None


@pytest.mark.parametrize("previewed_of", ["9" * 401, "9" * 100_000, "60\x00", "\x00", "☃", "", "60 80 90"])
def test_an_odd_preview_is_of_other_numbers(cast: Cast, previewed_of: str) -> None:
    sent = previewed() | {"previewed": previewed_of}
    answer = browser(cast.ours, "compliance").post(FORM, sent)
    text = text_of(answer)
    assert answer.status_code == 200
    assert "not those you had seen the effect of" in text
    assert f'name="previewed" value="{previewed()["previewed"]}"' in text
    assert in_force(cast.ours).recorded_at is None


@pytest.mark.parametrize("odd", ["\x00", "x" * 100_000, "-1", "1e9", "∞", "٣", "9" * 19])
def test_odd_input_is_an_error_with_a_name(cast: Cast, odd: str) -> None:
    compliance = browser(cast.ours, "compliance")
    for field in ("watch_ratio", "watch_sigmas", "watch_distance"):
        answer = compliance.post(FORM, previewed() | {field: odd})
        assert answer.status_code == 422
        assert "must be above 0" in text_of(answer) or "Write a plain number" in text_of(answer)
    assert in_force(cast.ours).recorded_at is None
    answer = compliance.post(FORM, previewed() | {"reason": "why\x00"})
    assert (answer.status_code, "cannot be shown" in text_of(answer)) == (422, True)


@pytest.mark.parametrize("step", ["preview", "save"])
def test_whoever_comes_second_is_told_and_keeps_their_numbers(book: Book, step: str) -> None:
    set_as(book.cast.ours, thresholds=Thresholds(watch_ratio=0.3))
    sent = previewed(STRICT) | {"step": step}
    compliance = browser(book.cast.ours, "compliance")
    answer = compliance.post(FORM, sent)
    text = text_of(answer)
    assert answer.status_code == 409
    assert "Compliance of Northgate set other levels at" in text
    assert 'name="watch_distance" value="90"' in text
    assert "now 30 %" in text
    assert in_force(book.cast.ours).thresholds.watch_ratio == 0.3
    replaces = in_force(book.cast.ours).recorded_at
    assert replaces is not None
    assert f'value="{replaces.isoformat()}"' in text
    assert compliance.post(FORM, sent | {"step": "save", "replaces": replaces.isoformat()}).status_code == 302
    assert in_force(book.cast.ours).thresholds == STRICT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"danger_ratio": "50"},
            "Danger, maintenance used in %: must not be below the level of the milder state.",
        ),
        (
            {"critical_sigmas": "2"},
            "Critical, distance in daily σ: must not be above the level of the milder state.",
        ),
        ({"watch_distance": "100"}, "Watch, distance in % without σ: must be above 0 and below 100 %."),
        ({"watch_ratio": "0"}, "Watch, maintenance used in %: must be above 0 and below 100 %."),
        ({"watch_sigmas": "100"}, "Watch, distance in daily σ: must be above 0 and below 100 σ."),
        ({"danger_sigmas": ""}, "Danger, distance in daily σ: This field is required."),
        ({"danger_sigmas": "1,5"}, "Danger, distance in daily σ: Write a plain number"),
        ({"danger_sigmas": "NaN"}, "Danger, distance in daily σ: Write a plain number"),
        ({"reason": ""}, "Say why."),
        ({"reason": "x" * 501}, "at most 500 characters"),
    ],
)
def test_what_cannot_be_is_refused_and_named(cast: Cast, changes: dict[str, str], words: str) -> None:
    answer = browser(cast.ours, "compliance").post(
        FORM, previewed(DEFAULT_THRESHOLDS, **{"watch_ratio": "55"} | changes)
    )
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert in_force(cast.ours).recorded_at is None


@pytest.mark.parametrize(
    "replaces", ["yesterday", "\x00", "x" * 100_000, "2026-01-01", "0001-01-01T00:00:00"]
)
def test_a_moment_that_no_levels_have_is_a_conflict_and_no_error(cast: Cast, replaces: str) -> None:
    answer = browser(cast.ours, "compliance").post(FORM, previewed(replaces=replaces))
    assert answer.status_code == 409
    assert "levels that were never in force; nothing was saved" in text_of(answer)
    assert in_force(cast.ours).recorded_at is None


def test_past_shows_the_levels_of_then_and_no_way_to_change_them(book: Book) -> None:
    ours = book.cast.ours
    then = timezone.now()
    set_as(ours)
    text = text_of(browser(ours, "compliance").get(PAGE, {"as_of": moment_text(then)}))
    assert "The levels every firm begins with" in text
    assert REASON not in text
    assert "90 %" in text
    assert FORM not in text
    before_anything = moment_text(then - timedelta(days=30))
    assert "; 0 open positions" in text_of(browser(ours, "advisor").get(PAGE, {"as_of": before_anything}))


@pytest.mark.parametrize("name", ["", "positions"])
def test_pages_print_the_levels_of_the_firm_and_of_the_moment(book: Book, name: str) -> None:
    ours, then = book.cast.ours, timezone.now()
    set_as(ours, thresholds=Thresholds(watch_sigmas=4.25))
    book.recompute()
    advisor = browser(ours, "advisor")
    assert "under 4.25 daily σ away" in text_of(advisor.get(f"/{name}"))
    assert "under 3 daily σ away" in text_of(advisor.get(f"/{name}", {"as_of": moment_text(then)}))
    assert "under 3 daily σ away" in text_of(browser(book.cast.theirs, "advisor").get(f"/{name}"))


def test_bands_of_the_chart_are_the_levels_of_the_firm(book: Book) -> None:
    ours, then = book.cast.ours, timezone.now()
    address = f"/positions/{book.positions['healthy']}/used.json"
    advisor = browser(ours, "advisor")
    before = advisor.get(address).json()
    set_as(ours, thresholds=Thresholds(watch_ratio=0.455))
    after = advisor.get(address).json()

    def bands(figure: Any) -> list[float]:
        return [shape["y0"] for shape in figure["layout"]["shapes"] if shape["type"] == "rect"]

    assert (bands(before)[0], bands(after)[0]) == (60, 45.5)
    assert before["version"] != after["version"]
    assert bands(advisor.get(address, {"as_of": moment_text(then)}).json())[0] == 60


def test_history_costs_no_query_a_row(book: Book) -> None:
    compliance = browser(book.cast.ours, "compliance")
    counts = []
    for _ in range(2):
        compliance.get(PAGE)
        with CaptureQueriesContext(connection) as queries:
            compliance.get(PAGE)
        counts.append(len(queries))
        for step in range(1, 4):
            set_as(book.cast.ours, thresholds=Thresholds(watch_ratio=0.1 * step + 0.01 * len(counts)))
    assert counts[0] == counts[1]
    assert len(all_levels(book.cast.ours)) == 7
