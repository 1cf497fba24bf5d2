"""Posting marks: what a feed may send, what is refused and how it is named, and that nothing is half taken."""

import json
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from margin import services as margin_services
from tests.book import load_instruments
from tests.cast import Cast
from tests.conftest import signed_in_as
from tests.doors import feed, read_all

MARK = {"venue": "binance_usdm", "symbol": "BTCUSDT", "source": "feed", "sequence": 7, "price": "64001.25"}


def _mark(**changes: Any) -> dict[str, Any]:
    return {**MARK, "source_at": timezone.now().isoformat(), **changes}


def _post(client: Client, body: Any, content_type: str = "application/json") -> Any:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.generic("POST", "/api/v1/marks", data, content_type=content_type)


def _intake() -> list[tuple[Any, ...]]:
    return read_all(
        "SELECT symbol, sequence, price, low_price, high_price FROM margin_markintake ORDER BY id"
    )


def _take_in() -> None:
    with signed_in_as("worker"):
        margin_services.take_in_posted_marks()


def _refusals() -> dict[tuple[str, str, str | None], int]:
    rows = read_all(
        "SELECT r.source, reason, symbol, sum(marks)::int FROM margin_markrefusal r "
        "LEFT JOIN portfolios_instrument i ON i.id = instrument_id GROUP BY 1, 2, 3"
    )
    return {(source, reason, symbol): marks for source, reason, symbol, marks in rows}


def _kept() -> int:
    return int(read_all("SELECT count(*) FROM margin_marktick")[0][0])


@pytest.fixture
def market(cast: Cast) -> None:
    load_instruments()


def test_posted_marks_are_written_down_and_taken_in(market: None) -> None:
    answer = _post(
        feed(), {"marks": [_mark(), _mark(symbol="ETHUSDT", price=3200.5, low_price="3100", sequence=8)]}
    )
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "unknown": []})
    assert _intake() == [
        ("BTCUSDT", 7, Decimal("64001.25"), Decimal("64001.25"), Decimal("64001.25")),
        ("ETHUSDT", 8, Decimal("3200.5"), Decimal(3100), Decimal("3200.5")),
    ]
    with signed_in_as("worker"):
        assert margin_services.take_in_posted_marks() == 2
    assert _intake() == []
    newest = read_all("SELECT price, source FROM margin_markprice ORDER BY price")
    assert newest == [(Decimal("3200.5"), "feed"), (Decimal("64001.25"), "feed")]


def test_a_mark_of_an_instrument_we_do_not_list_is_left_out_and_named(market: None) -> None:
    strange = ("btcusdt", "BTC\u2010USDT", "NEWUSDT")
    marks = [_mark(symbol=symbol) for symbol in strange] + [_mark(), _mark(venue="elsewhere")]
    answer = _post(feed(), {"marks": marks})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "unknown": [0, 1, 2, 4]})
    assert _post(feed(), {"marks": marks[:2]}).json() == {"accepted": 0, "unknown": [0, 1]}
    _take_in()
    assert read_all(
        "SELECT symbol FROM margin_markprice m JOIN portfolios_instrument i ON i.id = instrument_id"
    ) == [("BTCUSDT",)]
    assert _refusals() == {("feed", "symbol: unknown instrument", None): 6}


NOT_PRICES: list[Any] = [
    *("0", "-1", "NaN", "Infinity", "1e3", " 1", "1 ", "+1", "0x10", "1_000", "１２", "٣", "1,5", "", "."),
    *("1" * 19, "0." + "1" * 19, "1." + "0" * 60, "5.", ".5", None, True, [], {}),
]
NOT_TIMES: list[Any] = [
    *("2026-01-01", "2026-01-01T00:00:00", "2026-02-30T00:00:00Z", "2026-01-01T24:61:00Z", "0", ""),
    *("2026-01-01T00:00:00+99:99", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"),
    *("10000-01-01T00:00:00Z", "2999-01-01T00:00:00Z", 1767225600, 1767225600000, None),
]
BAD_VALUES: dict[str, list[Any]] = {
    "price": NOT_PRICES,
    "low_price": ["64001.26", "0", "x"],
    "high_price": ["64001.24", "NaN"],
    "sequence": [-1, 2**63, "x", 1.5, None, True, "9" * 2000],
    "venue": ["", None, 5, "x" * 33, ["binance_usdm"]],
    "symbol": ["", None, "x" * 41, "x" * 10_000],
    "source": ["", None, "x" * 33],
    "source_at": NOT_TIMES,
}


def test_a_bad_mark_is_named_by_its_place_and_field_and_none_is_taken(market: None) -> None:
    client = feed()
    for field, values in BAD_VALUES.items():
        for value in values:
            answer = _post(client, {"marks": [_mark(), _mark(**{field: value}), _mark(sequence=9)]})
            assert answer.status_code == 400, (field, value, answer.content)
            errors = answer.json()["marks"]
            assert list(errors) == ["1"], (field, value, errors)
            # Where prices contradict each other, the mark's own is named.
            assert list(errors["1"]) in ([field], ["price"] if field.endswith("price") else [field])
    # Each is counted by the source it names, and under its field; none becomes a mark, also not later.
    posted = len(_intake())
    _take_in()
    assert (_kept(), _intake()) == (0, [])
    counted = _refusals()
    assert sum(counted.values()) == posted == sum(len(values) for values in BAD_VALUES.values())
    assert {reason for _, reason, _ in counted} == {
        "price: not a number",
        "price: not between 0 and 10^18",
        "price: not between low_price and high_price",
        "low_price: not a number",
        "low_price: not between 0 and 10^18",
        "high_price: not a number",
        "sequence: out of range",
        "source: must have 1 to 32 characters",
        "source_at: not a time with its zone",
        "source_at: in the future",
        "symbol: unknown instrument",
    }


def test_a_mark_refused_for_the_future_stays_refused(market: None) -> None:
    soon = (timezone.now() + timedelta(seconds=6)).isoformat()
    assert _post(feed(), {"marks": [_mark(source_at=soon)]}).status_code == 400
    time.sleep(1.5)
    _take_in()
    assert (_kept(), _refusals()) == (0, {("feed", "source_at: in the future", "BTCUSDT"): 1})


def test_decimals_too_many_are_not_rounded_into_a_mark(market: None) -> None:
    for value in ("64001." + "1" * 19, "64001.0000000000000000001"):
        assert _post(feed(), {"marks": [_mark(price=value)]}).status_code == 400
    _take_in()
    assert (_kept(), _refusals()) == (0, {("feed", "price: not a number", "BTCUSDT"): 2})


def test_a_sound_mark_with_a_field_too_many_does_not_come_in_by_the_back_door(market: None) -> None:
    assert _post(feed(), {"marks": [_mark(role="admin")]}).status_code == 400
    _take_in()
    assert (_kept(), _refusals()) == (0, {})


def test_a_refused_post_is_not_counted_twice(market: None) -> None:
    client = feed()
    for _ in range(3):
        assert _post(client, {"marks": [_mark(), _mark(price="0"), _mark(sequence=9)]}).status_code == 400
    _take_in()
    _take_in()
    assert (_kept(), _refusals()) == (0, {("feed", "price: not between 0 and 10^18", "BTCUSDT"): 3})


def test_hostile_marks_move_no_price_and_are_told_apart(market: None) -> None:
    """Sound to the door, and only the market says that they are not: a jump, a symbol in disguise, old and again."""
    client, now = feed(), timezone.now()

    def at(seconds: float) -> str:
        return (now - timedelta(seconds=seconds)).isoformat()

    first = _mark(sequence=1, source_at=at(60))
    sent = [
        first,
        first,
        _mark(sequence=2, price="700000", source_at=at(50)),
        _mark(sequence=3, price="0.000000000000000001", source_at=at(49)),
        _mark(sequence=4, price="64002", source_at=at(48)),
        _mark(sequence=5, price="63000", source_at=(now - timedelta(days=1)).isoformat()),
        _mark(symbol="BTC\u2010USDT", sequence=6),
        _mark(symbol="btcusdt", sequence=7),
    ]
    answer = _post(client, {"marks": sent})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 6, "unknown": [6, 7]})
    _take_in()
    assert read_all("SELECT price, sequence FROM margin_markprice") == [(Decimal(64002), 4)]
    assert read_all("SELECT sequence FROM margin_marktick ORDER BY source_at") == [(5,), (1,), (4,)]
    assert _refusals() == {
        ("feed", "price: tenfold jump", "BTCUSDT"): 2,
        ("feed", "symbol: unknown instrument", None): 2,
    }
    assert _post(client, {"marks": sent[:6]}).status_code == 202
    _take_in()
    assert (_kept(), read_all("SELECT price FROM margin_markprice")) == (3, [(Decimal(64002),)])


def test_a_mark_with_a_field_too_many_or_too_few_is_refused(market: None) -> None:
    client = feed()
    for name in ("firm_id", "id", "posted_at", "role", "received_at"):
        assert _post(client, {"marks": [_mark(**{name: 1})]}).json() == {"marks": {"0": {name: ["unknown"]}}}
    for name in ("venue", "symbol", "source", "sequence", "price", "source_at"):
        mark = _mark()
        del mark[name]
        assert list(_post(client, {"marks": [mark]}).json()["marks"]["0"]) == [name]
    assert _post(client, {"marks": [_mark()], "firm_id": 2}).json() == {"firm_id": ["unknown"]}
    _take_in()
    assert _kept() == 0


def test_a_thousand_marks_are_taken_and_one_more_is_not(market: None) -> None:
    client = feed()
    with CaptureQueriesContext(connection) as captured:
        marks = [_mark(sequence=number) for number in range(1000)]
        assert _post(client, {"marks": marks}).json() == {"accepted": 1000, "unknown": []}
    assert len(captured) == 5
    assert _post(client, {"marks": [*marks, _mark()]}).status_code == 400
    assert len(_intake()) == 1000


# A sound body, to be spoilt; its time is long past, which the worker sorts out and not the door.
GOOD = json.dumps({"marks": [dict(MARK, source_at="2026-01-05T09:00:00Z")]})
BODIES: dict[str, str | bytes] = {
    "NaN": GOOD.replace('"64001.25"', "NaN"),
    "Infinity": GOOD.replace('"64001.25"', "-Infinity"),
    "huge exponent": GOOD.replace('"64001.25"', "1e999999999"),
    "tiny exponent": GOOD.replace('"64001.25"', "1e-999999999"),
    "huge integer": GOOD.replace('"64001.25"', "9" * 5000),
    "huge exponent in a field unread": GOOD.replace('"sequence": 7', '"sequence": 1E+999999999'),
    "nested lists": "[" * 100_000,
    "nested objects": '{"a":' * 100_000,
    "nested and closed": '{"marks":' + "[" * 500 + "]" * 500 + "}",
    "nested just too deep": '{"marks":' + "[" * 21 + "]" * 21 + "}",
    "key twice": GOOD.replace('"sequence": 7', '"sequence": 7, "sequence": 8'),
    "key twice outside": GOOD[:-1] + ', "marks": []}',
    "NUL": GOOD.replace("BTCUSDT", "BTC\\u0000USDT"),
    "raw NUL": GOOD.replace("BTCUSDT", "BTC\x00USDT"),
    "lone surrogate": GOOD.replace("BTCUSDT", "\\ud800"),
    "lone surrogate in a key": GOOD.replace("symbol", "\\udfff"),
    "twice a lone surrogate": '{"\\ud800": 1, "\\ud800": 2}',
    "invalid UTF-8": GOOD.encode().replace(b"BTCUSDT", b"\xff\xfe"),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-32": GOOD.encode("utf-32"),
    "BOM": b"\xef\xbb\xbf" + GOOD.encode(),
    "list": "[]",
    "string": '"marks"',
    "null": "null",
    "number": "7",
    "true": "true",
    "empty object": "{}",
    "marks no list": '{"marks": {}}',
    "marks null": '{"marks": null}',
    "marks of numbers": '{"marks": [1, null, "x", []]}',
    "marks empty": '{"marks": []}',
    "cut": GOOD[:-5],
    "two": GOOD + GOOD,
    "trailing comma": GOOD[:-1] + ",}",
    "single quotes": GOOD.replace('"', "'"),
    "too large": '{"marks": "' + "x" * (2 * 1024 * 1024) + '"}',
    "too large a list": '{"marks": [' + "1," * 1_100_000 + "1]}",
    "HTML": "<html><body>200 OK</body></html>",
}


def test_a_body_that_is_not_plain_json_is_refused(market: None) -> None:
    client = feed()
    codes = {name: _post(client, body).status_code for name, body in BODIES.items()}
    assert codes == dict.fromkeys(codes, 400)
    assert _post(client, b"").status_code == 400
    types = (
        "application/xml",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "x",
    )
    assert [_post(client, json.dumps({"marks": [_mark()]}), each).status_code for each in types] == [
        415
    ] * len(types)
    assert _intake() == []


def test_an_unread_body_costs_nothing(market: None) -> None:
    client = Client()
    assert _post(client, "[" * 100_000).status_code == 401
