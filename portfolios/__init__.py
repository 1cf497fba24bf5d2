"""WHAT they hold: instruments, accounts, portfolios, positions and their events."""
