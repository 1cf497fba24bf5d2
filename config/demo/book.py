"""The demo's book: two firms, their people and clients, and 300 positions opened on the replayed path."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from config.demo.logins import DEMO_LOGINS
from config.demo.names import CLIENT_NAMES
from config.demo.trades import DemoEvent, Draft, draw_trade

SEED = 20210519
POSITIONS = 300
# The rest is OK at the start. At speed 60 most of the liquidations come 12 to 16 minutes after it.
STATES_AT_START = {"critical": 5, "danger": 8, "watch": 24}
PORTFOLIO_NAMES = ("Core", "Tactical", "Hedges")
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
class DemoAccount:
    venue: str
    label: str


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
    accounts = {venue: DemoAccount(venue=venue, label=VENUE_LABELS[venue]) for venue in venues}
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


def _portfolio_name(draft: Draft) -> str:
    """Shorts hedge, low leverage is the core, the rest is tactical."""
    leverage = draft.events[0].leverage
    if draft.side == "short":
        return "Hedges"
    return "Core" if leverage is not None and leverage <= 4 else "Tactical"
