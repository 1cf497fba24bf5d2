"""The demo: prices, book and logins as plain data and pure functions; on top of them its feed and its seed."""
