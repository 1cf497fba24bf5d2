"""Vendored front-end files are what VENDOR.md says, and Plotly cannot offer to send a chart away."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from advisors.access import NAVIGATION
from config.headers import CONTENT_SECURITY_POLICY
from margin.engine.states import STATE_WORDS

STATIC = Path(__file__).resolve().parent.parent / "static"
VENDOR = STATIC / "vendor"
UNLISTED = {"VENDOR.md", "refresh.py"}
ROW = re.compile(
    r"^\| (?P<name>\S+) \| .+ \| (?P<version>\S+) \| (?P<licence>\S+) \| (?P<sha256>[0-9a-f]{64}) \|$"
)
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
ORIGIN = "http://bulkhead.test"
PAGE = """<!doctype html><html lang="en" data-bs-theme="light"><head><title>Figure</title>
<link rel="stylesheet" href="/css/tokens.css"></head><body>
<figure><h2 data-part="title"></h2><p data-part="caption"></p>
<div class="plot" data-fig="/figure.json"></div><p class="failed" hidden></p>
<details hidden><summary>View as table</summary><div class="scroll"></div></details></figure>
<div id="bare"></div>
<script src="/vendor/plotly-finance.min.js" defer></script><script src="/js/charts.js" type="module"></script>
</body></html>"""
FIGURE = """{"title": "A finding", "caption": "what is drawn", "alt": "in words", "version": "1", "narrow": {},
"data": [{"type": "scatter", "name": "line", "x": [1, 2, 3], "y": [1, 3, 2], "line": {"color": "@critical"}}],
"layout": {"annotations": [{"x": 2, "y": 3, "text": "top", "font": {"color": "@ink"}}]},
"table": {"headers": ["x", "y"], "rows": [["1", "1"], ["2", "3"]]}}"""


def listed_files() -> dict[str, re.Match[str]]:
    lines = (VENDOR / "VENDOR.md").read_text(encoding="utf-8").splitlines()
    found = [match for line in lines if (match := ROW.match(line))]
    return {match["name"]: match for match in found}


def test_vendored_files_have_the_listed_hash():
    listed = listed_files()
    assert len(listed) >= 9
    for name, row in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == row["sha256"], name


def test_vendored_files_are_all_listed():
    there = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert there - UNLISTED - {name for name in there if "__pycache__" in name} == {
        name for name in listed_files() if not name.startswith("../")
    }


def test_vendored_files_ship_at_the_pinned_versions():
    versions = {name: row["version"] for name, row in listed_files().items()}
    assert versions["htmx.min.js"] == "2.0.10"
    assert versions["tabler.min.css"] == "1.6.1"
    assert versions["plotly-finance.min.js"] == "4.1.0"
    assert versions["inter-latin-wght-normal.woff2"] == "5.3.0"


def test_every_icon_of_the_templates_is_in_the_sprite():
    sprite = set(
        re.findall(r'<symbol id="([\w-]+)"', (STATIC / "img" / "icons.svg").read_text(encoding="utf-8"))
    )
    templates = "".join(
        path.read_text(encoding="utf-8") for path in sorted((STATIC.parent / "templates").rglob("*.html"))
    )
    used = set(re.findall(r'icon\.html" with name="([\w-]+)"', templates))
    used |= {f"s-{state}" for state in (*STATE_WORDS, "stale")} | {icon for _, _, icon, _ in NAVIGATION}
    assert used - sprite == set()


def test_templates_hold_no_inline_script_or_style():
    for path in sorted((STATIC.parent / "templates").rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son\w+=|hx-on|\bjs:|javascript:", text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path


def test_plotly_is_called_by_the_one_wrapper_with_its_config():
    calls = {}
    for path in sorted((STATIC / "js").glob("*.js")):
        found = re.findall(r"Plotly\.\w+\(.*", path.read_text(encoding="utf-8"))
        if found:
            calls[path.name] = found
    assert set(calls) == {"charts.js"}
    assert all(call.endswith(", CONFIG);") for call in calls["charts.js"])


@pytest.fixture
def page() -> Iterator[Page]:
    """The chart wrapper alone on a page, under the product's policy; nothing leaves the process."""
    if not CHROMIUM:
        pytest.skip("needs chromium")

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        if path == "/":
            route.fulfill(body=PAGE, content_type="text/html", headers=headers)
        elif path == "/figure.json":
            route.fulfill(body=FIGURE, content_type="application/json", headers=headers)
        elif (STATIC / path[1:]).is_file():
            route.fulfill(path=STATIC / path[1:], headers=headers)
        else:
            route.fulfill(status=404, body="")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 900, "height": 700})
        opened.route("**/*", answer)
        opened.add_init_script(
            "window.violations = [];"
            "addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective))"
        )
        opened.goto(f"{ORIGIN}/")
        opened.wait_for_selector(".plot .scatterlayer .trace")
        yield opened
        browser.close()


@pytest.mark.browser
def test_a_chart_has_no_button_that_sends_it_away(page):
    page.hover(".plot")
    assert page.locator(".plot .modebar-btn").count() == 0
    assert page.evaluate("violations") == []
    # The same picture without the wrapper's config does offer it: the assertion above can fail.
    page.evaluate("Plotly.newPlot('bare', [{y: [1, 2]}])")
    titles = page.evaluate("[...document.querySelectorAll('#bare .modebar-btn')].map((b) => b.dataset.title)")
    assert any("hare" in (title or "") for title in titles), titles


@pytest.mark.browser
def test_a_chart_carries_its_finding_and_its_table(page):
    assert page.locator("[data-part=title]").inner_text() == "A finding"
    assert page.locator(".plot").get_attribute("aria-label") == "in words"
    page.locator("summary").click()
    page.wait_for_selector("details td")
    assert page.locator("details td").all_inner_texts() == ["1", "1", "2", "3"]


@pytest.mark.browser
def test_a_chart_takes_the_colours_of_the_theme(page):
    line = ".plot .scatterlayer .js-line"
    light = page.locator(line).evaluate("(line) => getComputedStyle(line).stroke")
    page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
    page.wait_for_function(f"getComputedStyle(document.querySelector('{line}')).stroke !== '{light}'")
    assert page.locator(line).evaluate("(line) => getComputedStyle(line).stroke") == "rgb(255, 141, 187)"
