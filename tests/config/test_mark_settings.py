"""Settings of marks: a bad one stops the start and is named."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def start(**given: str) -> subprocess.CompletedProcess[str]:
    """What a process says of its settings."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from config import settings as s; print(s.MARK_AGE_LIMIT, s.MARK_AGE_LIMITS_SECONDS)",
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SECRET_KEY": "x" * 50, **given},
        capture_output=True,
        text=True,
        check=False,
    )


def test_limits_are_read_by_source() -> None:
    assert start().stdout == "0:00:45 {}\n"
    said = start(MARK_AGE_LIMIT_SECONDS="30", MARK_AGE_LIMITS_SECONDS="slow-feed=300, binance = 1").stdout
    assert said == "0:00:30 {'slow-feed': 300, 'binance': 1}\n"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("MARK_AGE_LIMITS_SECONDS", "slow=0"),
        ("MARK_AGE_LIMITS_SECONDS", "slow=-5"),
        ("MARK_AGE_LIMITS_SECONDS", "slow=3601"),
        ("MARK_AGE_LIMITS_SECONDS", "slow=1e2"),
        ("MARK_AGE_LIMITS_SECONDS", "slow"),
        ("MARK_AGE_LIMITS_SECONDS", "fast=10,slow="),
        ("MARK_AGE_LIMIT_SECONDS", "0"),
        ("MARK_AGE_LIMIT_SECONDS", "86400"),
        ("MARK_AGE_LIMIT_SECONDS", "forever"),
        ("MARK_DISPUTE_RATIO", "0"),
        ("MARK_DISPUTE_RATIO", "2"),
        ("MARK_DISPUTE_RATIO", "nan"),
    ],
)
def test_a_bad_limit_stops_the_start_and_is_named(name: str, given: str) -> None:
    answer = start(**{name: given})
    assert answer.returncode != 0
    last = answer.stderr.strip().splitlines()[-1]
    assert "ImproperlyConfigured" in last
    assert name in last
