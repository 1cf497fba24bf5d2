"""Each role signs in and walks its pages, every chart is what the API says, and the past is read."""

import json
from datetime import UTC, datetime

import pytest

from tests.browser.stage import MARKS, check_figures, visit

pytestmark = MARKS


PAGES_OF_ROLES = {
    "advisor": [
        "/",
        "/positions",
        "/firm/risk",
        "/clients",
        "/tiers",
        "/levels",
        "/days",
        "/imports",
        "/clients/new",
    ],
    "compliance": [
        "/",
        "/positions",
        "/firm/risk",
        "/clients",
        "/tiers",
        "/levels/set",
        "/days",
        "/compliance/exports",
        "/health",
    ],
    "admin": ["/clients", "/people", "/people/new", "/people/assignments", "/health"],
}


@pytest.mark.parametrize("role", ["advisor", "compliance", "admin"])
def test_role_walks_its_pages_without_a_fault(chromium, site, role):
    for width, scheme in ((1440, "light"), (390, "dark")):
        visitor = visit(chromium, site, role, width, scheme)
        offered = set(visitor.links("nav.nav a.item"))
        assert offered <= set(PAGES_OF_ROLES[role]), "a link in the menu that this walk does not open"
        paths = list(PAGES_OF_ROLES[role])
        if role != "admin":
            visitor.open("/positions")
            paths.append(visitor.links("table.data td.name a")[0])
            visitor.open("/clients")
            client = visitor.links("table.data td.name a")[0]
            visitor.open(client)
            paths += [client, visitor.links('a[href^="/portfolios/"]')[0]]
        for path in paths:
            visitor.open(path)
            check_figures(visitor)
        assert visitor.faults == []
        visitor.page.context.close()


def test_dashboard_moves_and_then_shows_what_the_api_says(chromium, site):
    visitor = visit(chromium, site, "advisor", 1440, "light")
    visitor.open("/positions")
    position = visitor.links("table.data td.name a")[0]
    visitor.open(position)
    run = "document.querySelector('[data-run]').dataset.run"
    before = visitor.page.evaluate(run)
    visitor.wait_until(f"{run} !== {json.dumps(before)}", 40)
    with site.without_feed():
        visitor.page.wait_for_timeout(4_000)
        visitor.open(position)
        figures = check_figures(visitor)
        answer = visitor.page.request.get(f"{site.url}/api/v1{position}").json()
    price = {trace["name"]: trace for trace in figures["price"]["data"]}
    used = {trace["name"]: trace for trace in figures["used"]["data"]}
    assert price["Mark price"]["close"][-1] == float(answer["mark_price"])
    # The line is where equity meets maintenance; the figure is as the venue shows it, at OKX a tick nearer.
    assert price["Liquidation"]["y"][-1] == pytest.approx(float(answer["liquidation_price"]), rel=1e-6)
    assert used["Maintenance used"]["y"][-1] == pytest.approx(float(answer["margin_ratio"]) * 100, rel=1e-9)
    assert visitor.faults == []


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (390, "light")])
def test_a_past_moment_is_picked_read_and_left(chromium, site, width, scheme):
    visitor = visit(chromium, site, "advisor", width, scheme)
    visitor.open("/positions?coin=BTC")
    page, moment = visitor.page, datetime.now(UTC).replace(microsecond=0)
    page.wait_for_timeout(1_500)
    page.click("details.as-of > summary")
    page.fill("#as-of-field", f"{moment:%Y-%m-%dT%H:%M:%S}")
    page.click(".as-of button[type=submit]")
    page.wait_for_selector("#past")
    assert f"{moment:%-d %b %Y %H:%M:%S} UTC" in page.locator("#past").inner_text()
    assert page.title().startswith(f"As of {moment:%-d %b %Y %H:%M:%S} UTC")
    position = visitor.links("table.data td.name a")[0]
    visitor.open(position)
    figures = check_figures(visitor)
    # The pictures of time; the others are of prices.
    ends = {name: figures[name]["data"][0]["x"][-1] for name in ("price", "used")}
    assert max(ends.values()) <= f"{moment:%Y-%m-%dT%H:%M:%S}"
    shown, asked = page.locator("main").inner_text(), []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6_000)
    assert (page.locator("main").inner_text(), asked) == (shown, [])
    page.click("#past a[data-opens]")
    assert page.evaluate("document.activeElement.id") == "as-of-field"
    page.keyboard.press("Escape")
    page.click("#past >> text=Back to now")
    page.wait_for_selector("#freshness")
    assert page.url == site.url + position.partition("?")[0]
    assert visitor.faults == []


def test_the_picker_needs_no_script(chromium, site):
    visitor = visit(chromium, site, "compliance", 390, "light")
    cookies = visitor.page.context.cookies()
    bare = chromium.new_context(viewport={"width": 390, "height": 900}, java_script_enabled=False)
    bare.add_cookies(cookies)
    page = bare.new_page()
    page.goto(f"{site.url}/clients")
    page.click("details.as-of > summary")
    page.fill("#as-of-field", "2024-01-31T09:30:00")
    page.click(".as-of button[type=submit]")
    assert "31 Jan 2024 09:30:00 UTC" in page.locator("#past").inner_text()
    page.click("nav.tabbar >> text=Positions")
    assert "as_of=2024-01-31T09:30:00Z" in page.url
    page.click("details.as-of > summary")
    page.fill("#as-of-field", "")
    page.click(".as-of button[type=submit]")
    assert page.locator("#past").count() == 0
    bare.close()
