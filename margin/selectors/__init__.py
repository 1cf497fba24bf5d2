"""Reads of margin: the arrays the engine takes, and the rows that pages, API and exports share."""
