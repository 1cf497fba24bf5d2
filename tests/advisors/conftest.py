"""What tests of advisors begin with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.advisors import reports
from tests.book import Books, make_books
from tests.cast import Cast


@pytest.fixture
def books(cast: Cast, settings: Any, tmp_path: Path) -> Iterator[Books]:
    settings.VAR_DIR = tmp_path
    ours = {name: f"tests.advisors.reports.{name}_report" for name in ("watched", "failing", "slow")}
    settings.REPORTS = {**settings.REPORTS, **ours}
    yield make_books(cast, count=3)
    reports.after_row.clear()
