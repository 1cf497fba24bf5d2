"""What people type about portfolios, accounts, positions, events and files: read as strictly as a file is."""
