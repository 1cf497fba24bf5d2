"""Commands of the margin app."""
