"""Files with columns of their own: nothing is guessed, what was said is remembered, and shown before it counts."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from portfolios import selectors, services
from portfolios.importing import Reading
from portfolios.models import ImportBatch, ImportProfile, Position
from tests.portfolios.acting import acting_as, book_of, stored
from tests.portfolios.browsing import signed_in, upload
from tests.portfolios.files import make_file, make_workbook

VENUE_FILE = (
    "Kunde;Depot;Konto;Kontrakt;Richtung;Menge;Einstand;Margin ohne PnL;Id;Eröffnet\n"
    "CLIENT;Core;Main;BTCUSDT;long;0,5;60000,25;3000;7;2026-07-01 10:00:00\n"
).encode()
SAID = {
    "kind": "positions",
    "from_client": "Kunde",
    "from_portfolio": "Depot",
    "from_account": "Konto",
    "from_symbol": "Kontrakt",
    "from_side": "Richtung",
    "from_quantity": "Menge",
    "from_entry_price": "Einstand",
    "from_isolated_wallet": "Margin ohne PnL",
    "from_external_id": "Id",
    "from_opened_at": "Eröffnet",
    "each_venue": "binance_usdm",
    "time_zone": "Europe/Zurich",
    "decimal_mark": ",",
}


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.fixture
def browser(firm):
    return signed_in(firm)


def batch_of(answer):
    return answer["Location"].split("/")[2]


@pytest.fixture
def unread(browser):
    """A file whose header nobody has seen before."""
    answer = upload(browser, VENUE_FILE)
    assert answer.status_code == 302
    assert answer["Location"].endswith("/columns")
    return batch_of(answer)


def say(browser, batch, **changes):
    sent = {name: value for name, value in {**SAID, **changes}.items() if value is not None}
    return browser.post(reverse("portfolios:import_columns", args=[batch]), sent)


def test_new_header_asks_what_it_means_beside_the_first_rows(browser, unread):
    page = browser.get(reverse("portfolios:import_columns", args=[unread])).content.decode()
    assert "Margin ohne PnL" in page
    assert "60000,25" in page
    assert "Europe/Zurich" in page
    # A preview of what is not understood is no page.
    answer = browser.get(reverse("portfolios:import_preview", args=[unread]))
    assert answer["Location"].endswith("/columns")


def test_neither_zone_nor_decimal_mark_is_chosen_beforehand(browser, unread):
    page = browser.get(reverse("portfolios:import_columns", args=[unread])).content.decode()
    assert "checked" not in page
    zones = page.split('name="time_zone"')[1].split("</select>")[0]
    assert zones.count("selected") == 1
    assert '<option value="" selected>' in zones
    options = [part.split('"')[0] for part in zones.split('<option value="')[1:]]
    assert options[:3] == ["", "each", "UTC"]
    for missing in ({"time_zone": None}, {"decimal_mark": None}):
        answer = say(browser, unread, **missing)
        assert answer.status_code == 422


def test_columns_that_were_explained_are_read_so_and_shown_so(browser, firm, unread):
    answer = say(browser, unread)
    preview_url = reverse("portfolios:import_preview", args=[unread])
    assert (answer.status_code, answer["Location"]) == (302, preview_url)
    page = browser.get(preview_url).content.decode()
    assert "are in Europe/Zurich" in page
    assert "a comma: 1234,56" in page
    browser.post(reverse("portfolios:import_commit", args=[unread]))
    with acting_as(firm):
        position = Position.objects.get()
        assert (position.quantity, position.entry_price) == (Decimal("0.5"), Decimal("60000.25"))
        assert position.opened_at.isoformat() == "2026-07-01T08:00:00+00:00"
        assert selectors.list_profiles() == []


def test_named_profile_reads_the_next_file_of_the_firm(browser, firm, unread):
    say(browser, unread, profile_name="Desk A")
    with acting_as(firm):
        (profile,) = selectors.list_profiles()
        assert (profile.name, profile.kind, profile.venue) == ("Desk A", "positions", "binance_usdm")
        assert (profile.time_zone, profile.decimal_mark) == ("Europe/Zurich", ",")
    other = signed_in(firm, "colleague")
    answer = upload(other, VENUE_FILE.replace(b"CLIENT", b"OTHER_CLIENT"))
    page = other.get(answer["Location"]).content.decode()
    assert "by the profile Desk A" in page
    assert "Desk A" in other.get(reverse("portfolios:imports")).content.decode()


OWN_VALUES = {
    "each_client": "CLIENT",
    "each_portfolio": "Core",
    "each_account": "Main",
    "each_external_id": "secret-7",
    "each_note": "for the widow",
    "each_leverage": "10",
    "from_client": None,
    "from_portfolio": None,
    "from_account": None,
    "from_external_id": None,
}


def test_profile_keeps_nothing_of_one_client_and_asks_for_it_again(browser, firm, unread):
    page = browser.get(reverse("portfolios:import_columns", args=[unread])).content.decode()
    assert "only venue, symbol, side and event are remembered" in page
    assert say(browser, unread, **OWN_VALUES, profile_name="Desk A").status_code == 302
    with acting_as(firm):
        stored_mapping = ImportProfile.objects.get().mapping
        reading = ImportBatch.objects.get(public_id=unread).reading["reading"]
    assert {ours for ours, given in stored_mapping.items() if isinstance(given, dict)} == {"venue"}
    assert reading["constants"]["client"] == "CLIENT"
    # The file itself is taken in as it was explained; a colleague's next one belongs to nobody yet.
    browser.post(reverse("portfolios:import_commit", args=[unread]))
    with acting_as(firm):
        assert Position.objects.get().external_id == "secret-7"
    answer = upload(signed_in(firm, "colleague"), VENUE_FILE.replace(b"60000", b"61000"))
    assert answer.status_code == 302
    assert answer["Location"].endswith("/columns")


def test_profile_of_old_that_names_a_client_forces_no_file_onto_it(browser, firm, unread):
    say(browser, unread, profile_name="Desk A")
    with acting_as(firm):
        profile = ImportProfile.objects.get()
        profile.mapping |= {"note": {"value": "for the widow"}, "symbol": {"value": "BTCUSDT"}}
        row = replace(selectors.list_profiles()[0], mapping=profile.mapping)
    assert services.reading_of(row).constants == {"venue": "binance_usdm", "symbol": "BTCUSDT"}


def test_profile_is_found_however_the_header_is_spelled(browser, firm, unread):
    say(browser, unread, profile_name="Desk A")
    answer = upload(browser, VENUE_FILE.replace(b"Kunde;Depot", b"KUNDE; depot "))
    assert not answer["Location"].endswith("/columns")
    answer = upload(browser, VENUE_FILE.replace(b"Kunde;Depot", b"Klient;Depot"))
    assert answer["Location"].endswith("/columns")


def test_retired_profile_reads_nothing_more(browser, firm, unread):
    say(browser, unread, profile_name="Desk A")
    with acting_as(firm):
        (profile,) = selectors.list_profiles()
    retire_url = reverse("portfolios:profile_retire", args=[profile.public_id])
    for _ in range(2):
        assert browser.post(retire_url)["Location"] == reverse("portfolios:imports")
    assert upload(browser, VENUE_FILE)["Location"].endswith("/columns")
    # Its name is free again.
    assert say(browser, unread, profile_name="Desk A").status_code == 302


def test_name_of_a_profile_is_taken_once(browser, firm, unread):
    say(browser, unread, profile_name="Desk A")
    second = batch_of(upload(browser, VENUE_FILE.replace(b"Kunde", b"Klient")))
    answer = say(browser, second, from_client="Klient", profile_name="Desk A")
    assert answer.status_code == 422
    assert "The firm has a profile of this name" in answer.content.decode()
    with acting_as(firm):
        assert selectors.get_batch(second).state == "uploaded"


def test_profiles_of_other_firms_read_nothing_here(shelves, browser, firm, unread):
    say(browser, unread, profile_name="Desk A")
    with acting_as(shelves.theirs.firm):
        assert selectors.list_profiles() == []
    assert upload(signed_in(shelves.theirs.firm), VENUE_FILE)["Location"].endswith("/columns")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"from_isolated_wallet": None}, "The column is missing"),
        ({"from_quantity": "Nowhere"}, "Select a valid choice"),
        ({"each_client": "CLIENT"}, "Choose a column of the file or a value, not both."),
        ({"from_client": None}, "client"),
        ({"each_venue": "", "from_venue": None}, "venue"),
        ({"time_zone": "Mars/Base"}, "Select a valid choice"),
        ({"decimal_mark": "'"}, "Select a valid choice"),
        ({"profile_name": "a\u202eb"}, "cannot be shown"),
    ],
)
def test_what_is_wrong_with_the_choice_is_said_and_nothing_is_kept(browser, firm, unread, change, message):
    answer = say(browser, unread, **change)
    assert answer.status_code == 422
    assert message in answer.content.decode()
    with acting_as(firm):
        assert selectors.get_batch(unread).state == "uploaded"


def test_problems_are_named_by_the_columns_of_the_file(browser, firm):
    batch = batch_of(upload(browser, VENUE_FILE.replace(b"0,5", b"0.5").replace(b"CLIENT", b"NOBODY")))
    before = book_of(firm)
    answer = say(browser, batch, profile_name="Desk A")
    page = answer.content.decode()
    assert answer.status_code == 422
    assert '<td class="name">Menge</td>' in page
    answer = say(browser, batch, decimal_mark=".", profile_name="Desk A")
    assert '<td class="name">Einstand</td>' in answer.content.decode()
    assert book_of(firm) == before
    with acting_as(firm):
        assert selectors.get_batch(batch).state == "uploaded"
        assert selectors.list_profiles() == []


def test_client_that_is_not_there_is_named_by_the_column_of_the_file(browser):
    batch = batch_of(upload(browser, VENUE_FILE.replace(b"CLIENT", b"NOBODY")))
    assert '<td class="name">Kunde</td>' in say(browser, batch).content.decode()


def test_previewed_file_can_be_read_another_way(browser, firm, unread):
    say(browser, unread)
    say(browser, unread, time_zone="Asia/Tokyo")
    browser.post(reverse("portfolios:import_commit", args=[unread]))
    with acting_as(firm):
        assert Position.objects.get().opened_at.isoformat() == "2026-07-01T01:00:00+00:00"
    # Once taken in it is read no other way.
    answer = say(browser, unread)
    assert answer["Location"] == reverse("portfolios:import_preview", args=[unread])


def test_time_that_the_zone_does_not_have_is_refused(browser):
    batch = batch_of(upload(browser, VENUE_FILE.replace(b"2026-07-01 10:00", b"2026-03-29 02:30")))
    answer = say(browser, batch)
    assert answer.status_code == 422
    assert '<td class="name">Eröffnet</td>' in answer.content.decode()


@pytest.mark.parametrize("kind", ["positions", "events", "clients"])
def test_every_kind_of_file_has_its_columns(browser, unread, kind):
    answer = browser.get(reverse("portfolios:import_columns", args=[unread]), {"kind": kind})
    assert answer.status_code == 200
    assert ("Decimals are written with" in answer.content.decode()) == (kind != "clients")


def test_unknown_kind_is_no_page(browser, unread):
    assert (
        browser.get(reverse("portfolios:import_columns", args=[unread]), {"kind": "prices"}).status_code
        == 404
    )


def test_columns_nobody_reads_are_shown(browser):
    answer = upload(browser, make_file({"colour": "red"}))
    page = browser.get(answer["Location"]).content.decode()
    assert "Columns nobody reads" in page
    assert "colour" in page


def test_list_of_profiles_takes_as_many_queries_for_three_as_for_one(browser, firm):
    counts = []
    for place in range(3):
        with acting_as(firm):
            services.save_profile(
                name=f"Desk {place}",
                header=("no", "who"),
                reading=Reading("clients", {"reference": "no", "name": "who"}),
            )
        if place in {0, 2}:
            with CaptureQueriesContext(connection) as captured:
                browser.get(reverse("portfolios:imports"))
            counts.append(len(captured))
    assert counts[0] == counts[1]


# Workbooks.


def test_workbook_is_taken_in_like_a_text_file(browser, firm):
    answer = upload(browser, make_workbook(make_file({}, {"symbol": "ETHUSDT"})), "whatever.csv")
    assert answer.status_code == 302
    batch = batch_of(answer)
    browser.post(reverse("portfolios:import_commit", args=[batch]))
    with acting_as(firm):
        assert Position.objects.count() == 2
        assert selectors.get_batch(batch).file_name.endswith(".xlsx")
    again = upload(browser, make_workbook(make_file({}, {"symbol": "ETHUSDT"})))
    assert "Nothing would change" in browser.get(again["Location"]).content.decode()


def test_workbook_with_columns_of_its_own_is_explained_too(browser, firm):
    batch = batch_of(upload(browser, make_workbook(VENUE_FILE.replace(b",", b".").replace(b";", b","))))
    assert say(browser, batch, decimal_mark=".").status_code == 302


# Previews that nobody took in.


def test_content_of_old_previews_is_forgotten(browser, firm, unread):
    with acting_as(firm):
        kept = stored(make_file({}))
        taken_in = stored(make_file({"external_id": "2"}))
        services.commit_import(taken_in)
        assert services.forget_old_previews() == 0
        ImportBatch.objects.exclude(public_id=kept).update(
            uploaded_at=timezone.now() - timedelta(days=1, seconds=1)
        )
        assert services.forget_old_previews() == 1
        states = dict(ImportBatch.objects.values_list("public_id", "state"))
        contents = dict(ImportBatch.objects.values_list("public_id", "content"))
    assert (states[kept], states[taken_in]) == ("previewed", "committed")
    assert list(states.values()).count("forgotten") == 1
    assert list(contents.values()).count("") == 1
    page = browser.get(reverse("portfolios:import_preview", args=[unread])).content.decode()
    assert "its content was dropped" in page
    for name in ("import_commit", "import_columns"):
        answer = browser.post(reverse(f"portfolios:{name}", args=[unread]), SAID)
        assert answer["Location"] == reverse("portfolios:import_preview", args=[unread])


def test_old_previews_of_another_firm_stay(shelves, firm):
    with acting_as(shelves.theirs.firm):
        batch = stored(make_file({}))
    with acting_as(firm):
        assert services.forget_old_previews(timezone.now() + timedelta(days=2)) == 0
    with acting_as(shelves.theirs.firm):
        assert selectors.get_batch(batch).state == "previewed"
