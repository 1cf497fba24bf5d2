"""The stages of the pipeline that belong to margin."""

from advisors.jobs import sweep
from margin import services
from margin.services import funding, house, volatility


@sweep("take_in_marks")
def take_in_marks() -> int:
    return services.take_in_posted_marks()


@sweep("recompute")
def recompute() -> int:
    return services.recompute_all()


@sweep("volatility")
def measure_volatility() -> int:
    return volatility.measure_marks()


@sweep("book_funding")
def book_funding() -> int:
    return funding.book_funding()


@sweep("housekeeping")
def housekeeping() -> int:
    return house.keep_house()
