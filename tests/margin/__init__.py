"""Tests of the margin app."""
