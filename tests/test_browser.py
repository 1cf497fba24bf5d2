"""A real browser over the demo: each role signs in and walks its pages, and every chart is what the API says."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from config.demo.logins import DEMO_LOGINS
from tests.conftest import copy_of_template
from tests.settings import HOST, PASSWORDS, PORT

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
WIDTHS = (1440, 390)
FIRM = DEMO_LOGINS[0].firm

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"no browser: {CHROMIUM} is not there"),
]


@dataclass
class Site:
    """The demo's web process and feed on the test database; the feed can be stopped, so that figures stand still."""

    url: str
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, login: str, *words: str) -> None:
        self.processes[name] = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=self.environment | _login(self.environment, name, login),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def manage(self, *words: str) -> None:
        subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment | _login(self.environment, "worker", "worker"),
            check=True,
            timeout=120,
        )

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()

    @contextmanager
    def without_feed(self) -> Iterator[None]:
        self.stop("replay")
        try:
            yield
        finally:
            self.start("replay", "worker", "manage.py", "replay")


def _login(environment: dict[str, str], process: str, login: str) -> dict[str, str]:
    place = f"bulkhead_{login}:{PASSWORDS[login]}@"
    query = f"?host={HOST}&port={PORT}" if HOST.startswith("/") else ""
    at = "" if query else f"{HOST}:{PORT}"
    url = f"postgres://{place}{at}/{environment['DATABASE_NAME']}{query}"
    return {"BULKHEAD_PROCESS": process, "DATABASE_URL": url}


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.5)


def _is_ready(port: int) -> bool:
    web = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        web.request("GET", "/healthz/ready", headers={"Host": f"localhost:{port}"})
        return web.getresponse().status == 200
    except OSError:
        return False
    finally:
        web.close()


@pytest.fixture(scope="module")
def site(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Seeded as the demo is, served by the server of production, priced by the replay, computed by the sweeper."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with copy_of_template(f"bulkhead_site_{os.getpid()}") as database:
        served = Site(
            f"http://localhost:{port}",
            {
                **{key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
                "DATABASE_NAME": database,
                "DEMO": "1",
                "BASE_URL": f"http://localhost:{port}",
                "VAR_DIR": str(tmp_path_factory.mktemp("site")),
                "SWEEP_RECOMPUTE_SECONDS": "1",
                # A third of what the product waits, so that the test of a frozen feed need not wait as long.
                "MARK_AGE_LIMIT_SECONDS": "20",
            },
        )
        for words in (["load_market"], ["seed_demo"], ["collectstatic", "--noinput", "--verbosity", "0"]):
            served.manage(*words)
        try:
            options = ("--worker-class", "gthread", "--threads", "4", "--no-control-socket")
            served.start(
                "web", "web", "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}", *options
            )
            served.start("sweeper", "worker", "manage.py", "sweeper")
            served.start("replay", "worker", "manage.py", "replay")
            wait_for(lambda: _is_ready(port), 60, "the site to be ready")
            yield served
        finally:
            for name in list(served.processes):
                served.stop(name)


@pytest.fixture
def chromium(site: Site) -> Iterator[Browser]:
    """After the site, so that it is gone before the site is: its event loop forbids Django a query."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
            ],
        )
        yield browser
        browser.close()


# Kept on the window: a violation is an event, and no answer of the server tells of it.
WATCH_POLICY = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective + " " + event.blockedURI);
});
"""


@dataclass
class Visitor:
    """A signed-in tab that notes everything that goes wrong in it."""

    page: Page
    site: Site
    faults: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.add_init_script(WATCH_POLICY)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("requestfailed", self._note_failure)
        self.page.on(
            "response",
            lambda answer: (
                self.faults.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
            ),
        )

    def _note_console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"console: {message.text}")

    def _note_failure(self, request: Request) -> None:
        # A tab that moves on cancels the poll under way: no fault of the site's.
        if "ERR_ABORTED" not in (request.failure or ""):
            self.faults.append(f"failed {request.url}")

    def sign_in(self, role: str) -> None:
        login = next(one for one in DEMO_LOGINS if (one.firm, one.role) == (FIRM, role))
        self.page.goto(f"{self.site.url}/accounts/login")
        self.page.fill("input[name=login]", login.email)
        self.page.fill("input[name=password]", login.password)
        self.page.click("button[type=submit]")
        self.page.wait_for_selector("#content")

    def open(self, path: str) -> None:
        self.page.goto(self.site.url + path)
        self.wait_until(
            "[...document.querySelectorAll('[data-fig]')].every((plot) => plot.data && plot.data.length)", 15
        )
        assert self.page.evaluate("window.violations") == [], path
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is too wide"

    def wait_until(self, expression: str, seconds: float) -> None:
        """Asked from outside: a poll inside the page would need the eval that the policy forbids."""
        wait_for(lambda: bool(self.page.evaluate(expression)), seconds, expression)

    def links(self, selector: str) -> list[str]:
        found: list[str] = self.page.eval_on_selector_all(
            selector, "(all) => all.map((a) => a.getAttribute('href'))"
        )
        return found

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(
            """() => Object.fromEntries([...document.querySelectorAll('[data-fig]')].map((plot) => [
                plot.closest('figure').id,
                { data: plot.data, box: plot.getBoundingClientRect().toJSON(),
                  title: plot.closest('figure').querySelector('h2').textContent }]))"""
        )
        return found


def check_figures(visitor: Visitor) -> dict[str, Any]:
    figures = visitor.figures()
    for name, figure in figures.items():
        assert figure["box"]["width"] > 200, name
        assert figure["box"]["height"] > 100, name
        assert any(digit in figure["title"] for digit in "0123456789"), f"{name} has no finding as title"
        for trace in figure["data"]:
            assert trace["name"], name
            assert len(trace["x"]) >= 2, f"{name}: {trace['name']}"
    return figures


def visit(chromium: Browser, site: Site, role: str, width: int, scheme: str) -> Visitor:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    visitor = Visitor(context.new_page(), site)
    visitor.watch()
    visitor.sign_in(role)
    return visitor


PAGES_OF_ROLES = {
    "advisor": ["/", "/positions", "/clients", "/tiers", "/levels", "/days", "/imports", "/clients/new"],
    "compliance": ["/", "/positions", "/clients", "/tiers", "/levels/set", "/days", "/compliance/exports"],
    "admin": ["/clients", "/people", "/people/new", "/people/assignments"],
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


def test_frozen_feed_leaves_nothing_that_looks_safe(chromium, site):
    visitor = visit(chromium, site, "compliance", 1440, "light")
    visitor.open("/positions")
    visitor.wait_until("document.querySelectorAll('table.data .state.ok').length > 0", 30)
    with site.without_feed():
        visitor.wait_until("document.querySelectorAll('table.data .state.ok').length === 0", 60)
        assert visitor.page.locator("table.data .state.stale").count() > 0
        assert "stale" in visitor.page.locator("#freshness").inner_text()


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
    ends = {name: figure["data"][0]["x"][-1] for name, figure in check_figures(visitor).items()}
    assert set(ends) == {"price", "used"}
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
