"""The demo's prices, book and logins: plain data and pure functions, no clock and no database."""
