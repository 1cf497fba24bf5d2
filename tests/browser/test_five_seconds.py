"""Home answers its five questions at a glance, at any width and in both themes."""

import pytest

from tests.browser.stage import MARKS, WIDTHS, visit

pytestmark = MARKS


# Of every two labels of a chart, those whose boxes meet.
OVERLAPS = """() => [...document.querySelectorAll('.plot')].flatMap((plot) => {
  const labels = [...plot.querySelectorAll('.annotation-text')]
    .map((one) => [one.textContent, one.getBoundingClientRect()]);
  return labels.flatMap(([text, a], place) => labels.slice(place + 1)
    .filter(([, b]) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
    .map(([other]) => `${text} / ${other}`));
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_home_is_read_in_five_seconds(chromium, site, width, scheme):
    visitor = visit(chromium, site, "advisor", width, scheme)
    for path in ("/", "/firm/risk"):
        visitor.open(path)
        assert visitor.page.locator(".plot .annotation-text").count() >= 4
        assert visitor.page.evaluate(OVERLAPS) == [], path
    visitor.open("/")
    blocks = visitor.page.locator(".strip.five > section")
    heads = blocks.locator("h2").all_inner_texts()
    told = ("Need me now", "Worst", "Since", "If today were a −10 % day", "Can I trust this page?")
    assert len(heads) == len(told)
    assert all(head.startswith(word) for head, word in zip(heads, told, strict=True))
    boxes = [blocks.nth(place).bounding_box() for place in range(5)]
    if width > 1180:
        assert len({box and box["y"] for box in boxes}) == 1, "not in one line"
    # The five answers: how many, who, what changed, what a fall would take, and how old the figures are.
    answers = blocks.locator(".big").all_inner_texts()
    assert all(any(digit in answer for digit in "0123456789") for answer in answers), answers
    worst = visitor.page.locator("table.data .name a").first.inner_text()
    assert blocks.nth(1).locator(".who").inner_text() == worst
    assert blocks.nth(4).locator("[data-age]").count() == 2
    sizes = visitor.page.evaluate(
        "[...document.querySelectorAll('.strip.five .big')].map((one) => [one.scrollWidth, one.clientWidth])"
    )
    assert all(wide <= room for wide, room in sizes), "an answer is cut"
    assert visitor.faults == []
