"""One site for all browser tests of a process, and a browser for each."""

import os
import socket
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.stage import CHROMIUM, Site, is_ready, wait_for
from tests.conftest import copy_of_template


@pytest.fixture(scope="package")
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
            wait_for(lambda: is_ready(port), 60, "the site to be ready")
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
