"""The demo's book: two firms, their people and clients, and 300 positions opened on the replayed path."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from itertools import cycle

from config.demo.logins import DEMO_LOGINS
from config.demo.names import CLIENT_NAMES
from config.demo.trades import DemoEvent, Draft, draw_trade

SEED = 20210519
POSITIONS = 300
# The rest is OK at the start: of the 46 positions of the first advisor 3 are critical, 4 in danger and 5 to be watched.
# At speed 60 most of the liquidations come 12 to 16 minutes after it.
STATES_AT_START = {"critical": 18, "danger": 26, "watch": 32}
PORTFOLIO_NAMES = ("Core", "Tactical", "Hedges")
FREE_PARTS = tuple(map(Decimal, ("0.04", "0.1", "0.18", "0.3", "0.45")))
LEAST = Decimal("0.0001")
VENUE_LABELS = {
    "demo-binance-usdm": "Binance isolated",
    "demo-binance-coinm": "Binance coin-margined",
    "demo-okx": "OKX swaps",
    "demo-hyperliquid": "Hyperliquid vault",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoMember:
    """A person of the firm; `password` is theirs to sign in with."""

    name: str
    email: str
    role: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPortfolio:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoBalance:
    """What stands free in an account, and how many hours before the seeding somebody read it."""

    asset: str
    free_collateral: Decimal
    hours_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccount:
    """Without a balance its free collateral is not known."""

    venue: str
    label: str
    balances: tuple[DemoBalance, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPosition:
    """What a client holds, as the events that made it; the first is the opening."""

    external_id: str
    portfolio: DemoPortfolio
    account: DemoAccount
    venue: str
    symbol: str
    side: str
    events: tuple[DemoEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoClient:
    """A client, and the e-mail address of the advisor who answers for them."""

    name: str
    reference: str
    advisor_email: str
    portfolios: tuple[DemoPortfolio, ...]
    accounts: tuple[DemoAccount, ...]
    positions: tuple[DemoPosition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFirm:
    name: str
    members: tuple[DemoMember, ...]
    clients: tuple[DemoClient, ...]


def build_book(run_number: int = 1, seed: int = SEED) -> tuple[DemoFirm, ...]:
    """The two firms with the positions of a run: the same for the same run and seed.

    Only the positions' ids differ from run to run.
    """
    draws = random.Random(seed)  # noqa: S311 - a demo book, not a secret
    names = [(firm, name) for firm, found in CLIENT_NAMES.items() for name in found]
    held = _deal(draws, len(names))
    clients: dict[str, list[DemoClient]] = {firm: [] for firm in CLIENT_NAMES}
    advisors = {firm: cycle(_emails(firm, "advisor")) for firm in CLIENT_NAMES}
    for number, (firm, name) in enumerate(names):
        client = _build_client(
            name=name,
            reference=f"{firm[:2].upper()}-{len(clients[firm]) + 1:03d}",
            advisor_email=next(advisors[firm]),
            drafts=held[number],
            ids=(f"R{run_number}-{place:03d}" for place in _places(held, number)),
        )
        clients[firm].append(client)
    return tuple(
        DemoFirm(name=firm, members=_members(firm), clients=tuple(found)) for firm, found in clients.items()
    )


def _emails(firm: str, role: str) -> list[str]:
    return [login.email for login in DEMO_LOGINS if (login.firm, login.role) == (firm, role)]


def _members(firm: str) -> tuple[DemoMember, ...]:
    return tuple(
        DemoMember(name=login.name, email=login.email, role=login.role, password=login.password)
        for login in DEMO_LOGINS
        if login.firm == firm
    )


def _deal(draws: random.Random, clients: int) -> list[list[Draft]]:
    """Every client's positions: two to eight each, the troubled ones anywhere."""
    states = [state for state, count in STATES_AT_START.items() for _ in range(count)]
    states += ["ok"] * (POSITIONS - len(states))
    draws.shuffle(states)
    held: list[list[Draft]] = [[] for _ in range(clients)]
    for place, state in enumerate(states):
        roomy = [found for found in held if len(found) < 2] if place < 2 * clients else held
        holder = draws.choice([found for found in roomy if len(found) < 8])
        taken = {draft.key for draft in holder}
        holder.append(draw_trade(draws, state, taken))
    return held


def _places(held: list[list[Draft]], number: int) -> Iterator[int]:
    before = sum(len(found) for found in held[:number])
    return iter(range(before + 1, before + len(held[number]) + 1))


def _build_client(
    *, name: str, reference: str, advisor_email: str, drafts: list[Draft], ids: Iterator[str]
) -> DemoClient:
    names = dict.fromkeys(_portfolio_name(draft) for draft in drafts)
    portfolios = {found: DemoPortfolio(name=found) for found in PORTFOLIO_NAMES if found in names}
    venues = dict.fromkeys(draft.instrument.venue for draft in drafts)
    accounts = {
        venue: DemoAccount(
            venue=venue, label=VENUE_LABELS[venue], balances=_balances(f"{reference} {venue}", venue, drafts)
        )
        for venue in venues
    }
    positions = tuple(
        DemoPosition(
            external_id=external_id,
            portfolio=portfolios[_portfolio_name(draft)],
            account=accounts[draft.instrument.venue],
            venue=draft.instrument.venue,
            symbol=draft.instrument.symbol,
            side=draft.side,
            events=draft.events,
        )
        for external_id, draft in zip(ids, drafts, strict=True)
    )
    return DemoClient(
        name=name,
        reference=reference,
        advisor_email=advisor_email,
        portfolios=tuple(portfolios.values()),
        accounts=tuple(accounts.values()),
        positions=positions,
    )


def _balances(key: str, venue: str, drafts: list[Draft]) -> tuple[DemoBalance, ...]:
    """A part of what the account's boxes hold; of one account in seven nobody ever wrote it down."""
    draws = random.Random(key)  # noqa: S311 - a demo book, not a secret
    if draws.random() < 1 / 7:
        return ()
    hours_before = draws.choice((1, 2, 3, 5, 9, 20, 31))
    held: dict[str, Decimal] = {}
    for draft in drafts:
        if draft.instrument.venue == venue:
            margin = sum((event.amount or Decimal(0) for event in draft.events), Decimal(0))
            asset = draft.instrument.settle_asset
            held[asset] = held.get(asset, Decimal(0)) + margin
    return tuple(
        DemoBalance(
            asset=asset,
            free_collateral=(margin * draws.choice(FREE_PARTS)).quantize(LEAST, rounding=ROUND_DOWN),
            hours_before=hours_before,
        )
        for asset, margin in held.items()
    )


def _portfolio_name(draft: Draft) -> str:
    """Shorts hedge, low leverage is the core, the rest is tactical."""
    leverage = draft.events[0].leverage
    if draft.side == "short":
        return "Hedges"
    return "Core" if leverage is not None and leverage <= 4 else "Tactical"
