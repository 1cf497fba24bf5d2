"""The demo as it is served, and a visitor who signs in and notes everything that goes wrong."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request

from config.demo.logins import DEMO_LOGINS
from tests.settings import HOST, PASSWORDS, PORT

ROOT = Path(__file__).resolve().parent.parent.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
WIDTHS = (1440, 390)
FIRM = DEMO_LOGINS[0].firm

MARKS = [
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


def is_ready(port: int) -> bool:
    web = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        web.request("GET", "/healthz/ready", headers={"Host": f"localhost:{port}"})
        return web.getresponse().status == 200
    except OSError:
        return False
    finally:
        web.close()


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
        is_saved = figure["title"].startswith("Without the ")
        assert is_saved or any(digit in figure["title"] for digit in "0123456789"), f"{name} has no finding"
        for trace in figure["data"]:
            assert trace["name"], name
            # There may be nothing to mark; a line has two ends.
            assert len(trace["x"]) >= (0 if trace.get("mode", "").startswith("markers") else 2), trace["name"]
    return figures


def visit(chromium: Browser, site: Site, role: str, width: int, scheme: str) -> Visitor:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    visitor = Visitor(context.new_page(), site)
    visitor.watch()
    visitor.sign_in(role)
    return visitor
