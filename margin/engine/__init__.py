"""The margin engine: arrays in, arrays out; no Django, no clock, no files."""

# Raised with every change that can move a figure: what was sealed says which engine computed it.
VERSION = "2"
