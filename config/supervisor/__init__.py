"""Starts, watches and ends the servers and processes of `make demo` and `make test`; knows no Django."""
