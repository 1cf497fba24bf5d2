"""Pages on which advisors change their book: portfolios and accounts, positions and events, imports."""
