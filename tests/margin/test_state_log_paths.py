"""Whatever marks do and whenever sweeps come or die: no crossing is lost, none is told twice, and the log replays."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from margin.engine.reasons import Reason
from margin.engine.states import LIQUIDATABLE, OK, STATE_WORDS, UNKNOWN
from margin.models import Tier
from margin.services.check import Limits, check_rows
from tests.conftest import signed_in_as
from tests.margin.priced_book import ETH
from tests.margin.reference import Case, reference_figures
from tests.margin.risk_rows import change
from tests.margin.state_stage import Stage

RANK = {"ok": 0, "watch": 1, "unknown": 2, "danger": 3, "critical": 4, "liquidatable": 5}
# The levels that every firm begins with, where no volatility is known: product.md, and margin/engine/states.py.
LEVELS = (("critical", "0.90", "0.02"), ("danger", "0.80", "0.05"), ("watch", "0.60", "0.10"))
SIDES = {"close": 1, "short": -1}
ENTRY, WALLET, QUANTITY = Decimal(3000), Decimal(900), Decimal(10)
prices = st.sampled_from(["2890", "2905", "2960", "3000", "3060", "3100", "3140", "3210", "3280"])
marks = st.tuples(st.just("quote"), prices, st.none() | prices, st.none() | prices)
others = st.sampled_from(["sweep", "sweep", "sweep and die", "lose rows", "begin anew", "record"])
paths = st.lists(marks | marks | st.tuples(others), min_size=4, max_size=14)


@pytest.fixture
def stage(book, superuser):
    book.open("short", book.cast.ours, "advisor", book.cast.ours.client, ETH,
        side="short", quantity="10", entry_price="3000", isolated_wallet="900", leverage="10")  # fmt: skip
    return Stage(book, superuser)


class Oracle:
    """What the states are by the scalar twin, and what the log must say of marks and sweeps."""

    def __init__(self, name: str, margin: int) -> None:
        self.side = SIDES[name]
        self.wallet = WALLET + margin
        columns = ("floor", "cap", "maintenance_rate", "maintenance_amount")
        self.tiers = list(
            Tier.objects.filter(label="binance_usdm", symbol=ETH).order_by("tier").values_list(*columns)
        )
        self.was: str | None = None
        self.is_touched = False
        self.worst: Decimal | None = None

    def quote(self, low: Decimal, high: Decimal) -> None:
        worse, worst = (low, min) if self.side > 0 else (high, max)
        self.worst = worse if self.worst is None else worst(worse, self.worst)

    def record(self) -> None:
        # Marks of before the change are none of what it is now.
        self.wallet, self.is_touched, self.worst = self.wallet + 1, False, None

    def sweep(self, mark: Decimal) -> list[tuple[str | None, str, bool]]:
        """What is written: was, is, whether a wick."""
        written: list[tuple[str | None, str, bool]] = []
        now, was = self.state(mark), self.was
        worst = now if self.worst is None else self.state(self.worst)
        if not self.is_touched and RANK[worst] > max(
            RANK[now], -1 if was in {None, "liquidatable"} else RANK[was]
        ):
            written.append((was, worst, True))
            was = worst
        self.is_touched |= "liquidatable" in (worst if written else now, self.was_liquidatable)
        shown = "unknown" if self.is_touched and now != "liquidatable" else now
        if written or shown != was:
            written.append((was, shown, False))
        self.was, self.worst = shown, None
        return written

    @property
    def was_liquidatable(self) -> str:
        return "liquidatable" if self.is_touched else ""

    def state(self, mark: Decimal) -> str:
        found = reference_figures(
            **Case(
                side=self.side,
                kind="linear",
                size=QUANTITY,
                contracts=QUANTITY,
                entry_price=ENTRY,
                wallet=self.wallet,
                mark_price=mark,
                fee_rate=Decimal(0),
                tiers=self.tiers,
                tiers_in_contracts=False,
                deduction=True,
                maintenance_basis="mark",
            )
        )
        ratio, distance = found["margin_ratio"], found["distance_ratio"]
        assert distance is not None
        if ratio is None or ratio >= 1 or distance <= 0:
            return "liquidatable"
        passed = (word for word, used, away in LEVELS if ratio > Decimal(used) or distance < Decimal(away))
        return next(passed, "ok")


# An example takes seconds: a path that fails is told as it is, and not made shorter.
SETTINGS = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@SETTINGS
@given(path=paths)
def test_every_crossing_is_told_once(stage: Stage, path: list[tuple[Any, ...]]) -> None:
    oracles = begin(stage)
    mark = Decimal(3280)
    for action, *values in [*path, ("sweep",)]:
        if action == "quote":
            given_prices = [Decimal(price) for price in values if price]
            mark, low, high = given_prices[0], min(given_prices), max(given_prices)
            stage.quote(str(mark), low=str(low), high=str(high))
            for oracle in oracles.values():
                oracle.quote(low, high)
        elif action in ("sweep", "sweep and die"):
            (stage.sweep if action == "sweep" else stage.sweep_and_die)()
            assert_written(stage, oracles, mark)
            # Who dies in the middle leaves the other firm as it was.
            assert action != "sweep" or faults() == {}
        elif action == "record":
            for name, oracle in oracles.items():
                change(stage.book, name, "margin_added", amount=1)
                oracle.record()
        else:
            (stage.lose_rows if action == "lose rows" else stage.begin_anew)()


def faults() -> "Counter[str]":
    with signed_in_as("worker"):
        return +check_rows(Limits()).faults


def begin(stage: Stage) -> dict[str, Oracle]:
    """Both positions anew, at a mark that is calm for neither, with nothing left to be told."""
    stage.quote("3280")
    for name in SIDES:
        change(stage.book, name, "margin_added", amount=1)
    stage.sweep()
    oracles = {}
    for name in SIDES:
        stage.new_changes(name)
        row = stage.row(name)
        oracles[name] = Oracle(name, row.position_version - 1)
        oracles[name].was = STATE_WORDS[row.state]
        oracles[name].is_touched = row.state == LIQUIDATABLE
    return oracles


def assert_written(stage: Stage, oracles: dict[str, Oracle], mark: Decimal) -> None:
    for name, oracle in oracles.items():
        expected = [row for row in oracle.sweep(mark) if row[0] != row[1]]
        found = stage.new_changes(name)
        words = [
            (None if was is None else STATE_WORDS[was], STATE_WORDS[state], wick)
            for was, state, wick in found
        ]
        # Liquidatable as another version is said again.
        assert [row for row in words if row[0] != row[1]] == expected, (name, mark)
        row = stage.row(name)
        assert (STATE_WORDS[row.state], stage.changes(name)[-1].state) == (oracle.was, row.state)
        assert (row.reason == Reason.TOUCHED) == (row.state == UNKNOWN)


def test_calm_is_calm(stage: Stage) -> None:
    """The path begins where the twin says ok for the long one."""
    with signed_in_as("worker"):
        assert Oracle("close", 0).state(Decimal(3280)) == STATE_WORDS[OK]
