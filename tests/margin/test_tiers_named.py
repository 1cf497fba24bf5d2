"""The positions that a margin table's page names one by one: no more than can be read, and how many there are."""

from tests import doors
from tests.margin.priced_book import ETH, Book
from tests.margin.test_tiers_effect import announce
from tests.past_story import get

TABLE = f"/tiers/binance_usdm/{ETH}"
LISTED = "<b>Over the leverage cap</b>"


def test_of_many_over_the_cap_twenty_are_named_and_the_others_counted(book: Book) -> None:
    announce(ETH, "0.01", max_leverage="5")
    ours = book.cast.ours
    client = doors.browser(ours, "advisor")
    for number in range(19):
        book.open(f"more-{number}", ours, "advisor", ours.client, ETH, side="long", leverage="10",
                  quantity="1", entry_price="3000", isolated_wallet="600")  # fmt: skip
    book.recompute()
    page = get(client, f"{TABLE}?version=2")
    assert (page.count(LISTED), "not listed here" in page) == (20, False)
    for number in range(3):
        book.open(f"most-{number}", ours, "advisor", ours.client, ETH, side="long", leverage="10",
                  quantity="1", entry_price="3000", isolated_wallet="600")  # fmt: skip
    book.recompute()
    page = get(client, f"{TABLE}?version=2")
    assert page.count(LISTED) == 20
    assert "<b>3 more over the leverage cap</b>, not listed here" in page
    assert 'href="/positions?venue=binance_usdm&amp;coin=ETH"' in page
