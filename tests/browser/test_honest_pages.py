"""An open page never looks safer than what is known: a frozen feed, a server that does not answer."""

import pytest

from tests.browser.stage import MARKS, visit

pytestmark = MARKS


def test_frozen_feed_leaves_nothing_that_looks_safe(chromium, site):
    visitor = visit(chromium, site, "compliance", 1440, "light")
    visitor.open("/positions")
    visitor.wait_until("document.querySelectorAll('table.data .state.ok').length > 0", 30)
    with site.without_feed():
        visitor.wait_until("document.querySelectorAll('table.data .state.ok').length === 0", 60)
        assert visitor.page.locator("table.data .state.stale").count() > 0
        assert "stale" in visitor.page.locator("#freshness").inner_text()


# Chips, and marks of drawings, in the colours of states that are known to be safe.
LOOKS_SAFE = """() => {
  const probe = document.createElement("i");
  document.body.append(probe);
  const colours = ["ok", "watch"].map((name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  const drawn = [...document.querySelectorAll("[data-fig]")].flatMap((plot) => plot.data || [])
    .flatMap((trace) => [trace.marker?.color].flat()).filter((colour) => colours.includes(colour));
  return document.querySelectorAll("main td :is(.state.ok, .state.watch)").length + drawn.length;
}"""


def test_an_open_home_loses_its_colours_with_the_feed(chromium, site):
    visitor = visit(chromium, site, "compliance", 1440, "light")
    visitor.open("/")
    visitor.wait_until(f"({LOOKS_SAFE})() > 0", 40)
    with site.without_feed():
        visitor.wait_until(f"({LOOKS_SAFE})() === 0", 60)


@pytest.mark.parametrize("path", ["/positions", "/clients"])
def test_an_open_page_without_an_answer_loses_its_colours_and_gets_them_back(chromium, site, path):
    visitor = visit(chromium, site, "compliance", 1440, "light")
    visitor.open(path)
    visitor.wait_until("document.querySelectorAll('main td .state.ok').length > 0", 30)
    title = visitor.page.title()
    visitor.page.context.set_offline(True)
    visitor.wait_until("document.querySelectorAll('main td :is(.state.ok, .state.watch)').length === 0", 45)
    assert "Was OK" in visitor.page.locator("main").inner_text()
    visitor.wait_until("document.title.startsWith('Not up to date')", 15)
    assert visitor.page.locator("#lost").is_visible()
    visitor.page.context.set_offline(False)
    visitor.wait_until("!document.title.startsWith('Not up to date')", 20)
    visitor.wait_until("document.querySelectorAll('main td .state.ok').length > 0", 20)
    assert visitor.page.title().rpartition(" · ")[2] == title.rpartition(" · ")[2]


TRUST = ".strip.five > section:nth-child(5) .big"
TRUSTED = f"document.querySelector('{TRUST}').textContent.startsWith('Yes')"


def test_home_is_not_to_be_trusted_while_nobody_answers(chromium, site):
    visitor = visit(chromium, site, "compliance", 1440, "light")
    visitor.open("/")
    visitor.wait_until(TRUSTED, 30)
    visitor.page.context.set_offline(True)
    visitor.wait_until("!document.getElementById('lost').hidden", 30)
    visitor.wait_until(f"!{TRUSTED}", 3)
    assert visitor.page.locator(TRUST).inner_text().split() == ["No", "nobody", "answers"]
    visitor.page.context.set_offline(False)
    visitor.wait_until(TRUSTED, 20)
    assert "priced in time" in visitor.page.locator(TRUST).inner_text()


def test_home_is_not_to_be_trusted_with_a_price_past_its_limit(chromium, site):
    visitor = visit(chromium, site, "compliance", 1440, "light")
    visitor.open("/")
    visitor.wait_until(TRUSTED, 30)
    # A server that answers, and says that nothing changed for longer than it may.
    visitor.page.route("**/live?*", lambda route: route.fulfill(status=204))
    visitor.wait_until(f"!{TRUSTED}", 40)
    assert "a price passed its limit" in visitor.page.locator(TRUST).inner_text()
    assert visitor.page.locator("#lost").is_hidden()
    visitor.page.unroute("**/live?*")
    visitor.wait_until(TRUSTED, 20)


def test_a_page_without_a_live_chip_keeps_its_colours(chromium, site):
    visitor = visit(chromium, site, "compliance", 1440, "light")
    visitor.open("/levels")
    assert visitor.page.locator("main .state.ok").count() > 0
    visitor.page.wait_for_timeout(42_000)
    assert not visitor.page.evaluate("document.documentElement.matches('.is-old, .is-lost')")
