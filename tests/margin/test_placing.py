"""Labels of a chart: none covers another or leaves the plot, at the least width and at any wider one."""

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from margin.charts.book import ladder_figure
from margin.charts.placing import Area, Placed, Spot, annotation, place_labels, text_width
from margin.charts.risk_map import risk_map_figure
from margin.selectors.ladder import BookStanding, Standing

LEAST = Area(width_px=280, height_px=200)
fractions = st.floats(0, 1)
spots = st.lists(
    st.builds(Spot, st.text("aWmi ", min_size=1, max_size=24), fractions, fractions, st.floats(2, 11)),
    max_size=9,
)


def box(placed: Placed, area: Area) -> tuple[float, float, float, float]:
    x, y = placed.spot.x * area.width_px, placed.spot.y * area.height_px
    left, right, bottom, top = placed.box
    return x + left, x + right, y + bottom, y + top


@given(spots, st.floats(1, 6))
def test_no_label_covers_another_or_leaves_the_plot_however_wide_it_is(
    found: list[Spot], wider: float
) -> None:
    area = Area(width_px=LEAST.width_px * wider, height_px=LEAST.height_px)
    boxes = [box(placed, area) for placed in place_labels(found, LEAST)]
    for left, right, bottom, top in boxes:
        assert left >= -1e-6
        assert right <= area.width_px + 1e-6
        assert bottom >= 0
        assert top <= area.height_px
    for one, other in combinations(boxes, 2):
        apart = one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]
        assert apart, (one, other)


def test_the_first_has_the_first_choice_and_goes_where_it_covers_nothing() -> None:
    first, same = Spot("first", 0.5, 0.5), Spot("first", 0.5, 0.5)
    assert [placed.side for placed in place_labels([first, same], LEAST)] == ["right", "left"]
    beside = [(0.5 + 12 / LEAST.width_px, 0.5), (0.5 - 12 / LEAST.width_px, 0.5)]
    assert [placed.side for placed in place_labels([first], LEAST, marks=beside)] == ["above"]
    around = [*beside, (0.5, 0.5 + 12 / LEAST.height_px), (0.5, 0.5 - 12 / LEAST.height_px)]
    assert place_labels([first], LEAST, marks=around, over_marks=False) == []
    assert len(place_labels([first], LEAST, marks=around)) == 1
    assert place_labels([Spot("x" * 60, 0.5, 0.5)], LEAST) == []


def test_a_label_covers_no_edge_of_a_mark_either() -> None:
    spot = Spot("first", 0.5, 0.5)
    # Its middle is above the label, its lower half is not.
    above = (0.5 + 12 / LEAST.width_px, 0.5 + 14 / LEAST.height_px)
    assert [placed.side for placed in place_labels([spot], LEAST, marks=[above])] == ["right"]
    assert [placed.side for placed in place_labels([spot], LEAST, marks=[(*above, 10.0)])] == ["left"]


def test_an_annotation_stands_where_its_box_does() -> None:
    (placed,) = place_labels([Spot("Tanaka ETH", 0.5, 0.5, radius_px=6)], LEAST)
    note = annotation(placed, x=3.0, y=4.0, name="wide")
    assert (note["xanchor"], note["xshift"], note["yshift"]) == ("left", placed.box[0], 0)
    assert placed.box[1] - placed.box[0] == text_width("Tanaka ETH")


standings = st.lists(
    st.builds(
        Standing,
        client_name=st.sampled_from(["Halvorsen Family Trust", "Okafor Holdings", "Castellanos, R. & M."]),
        base_asset=st.sampled_from(["BTC", "DOGE"]),
        side=st.sampled_from(["long", "short"]),
        state=st.sampled_from(["critical", "danger", "watch", "ok"]),
        distance_ratio=st.floats(0.001, 0.9),
        distance_sigmas=st.floats(0.05, 40),
        margin_dollars=st.floats(10, 1e7),
        value_dollars=st.floats(10, 1e8),
    ),
    min_size=1,
    max_size=12,
)


@given(standings)
def test_both_figures_name_wide_and_narrow_notes_apart(held: list[Standing]) -> None:
    book = BookStanding(standings=held, without_figures=0, without_dollars=0, version="v")
    for figure in (ladder_figure(book), risk_map_figure(book)):
        assert {note["name"] for note in figure.layout["annotations"]} <= {"wide", "narrow"}
        assert figure.layout["yaxis"]["title"]["text"].count("USD") == 1


def test_names_of_the_map_cover_no_mark_of_another() -> None:
    held = [
        Standing(client_name=f"Client{n}", base_asset="BTC", side="long", state="ok", distance_ratio=0.1,
                 distance_sigmas=5.0 + n / 50, margin_dollars=1000.0 + n, value_dollars=1e6)
        for n in range(40)
    ]  # fmt: skip
    book = BookStanding(standings=held, without_figures=0, without_dollars=0, version="v")
    names = [note for note in risk_map_figure(book).layout["annotations"] if not note.get("yref")]
    # All stand in one heap: only what is alone at its end finds a place, if any does.
    assert len(names) < 4


@given(standings)
def test_names_of_bands_stand_in_their_order_without_touching(held: list[Standing]) -> None:
    book = BookStanding(standings=held, without_figures=0, without_dollars=0, version="v")
    figure = risk_map_figure(book)
    low, high = figure.layout["xaxis"]["range"]
    for name, width in (("wide", 308), ("narrow", 200)):
        bands = [note for note in figure.layout["annotations"] if note["name"] == name and note.get("yref")]
        for one, other in pairwise(bands):
            room = (other["x"] - one["x"]) / (high - low) * width
            assert len(one["text"]) * 5 <= room
