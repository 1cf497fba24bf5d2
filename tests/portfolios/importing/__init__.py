"""Tests of reading files of positions."""
