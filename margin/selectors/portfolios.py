"""Portfolios a page at a time, for the API."""

from portfolios.selectors import list_portfolios_after

__all__ = ["list_portfolios_after"]
