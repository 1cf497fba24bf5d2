"""What `manage.py benchmark NAME` runs: each prints what it measured, on what, and the ratios."""
