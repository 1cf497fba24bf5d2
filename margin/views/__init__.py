"""The pages of risk: home, positions, one position, clients and portfolios."""
