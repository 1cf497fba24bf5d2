"""The margin engine: arrays in, arrays out; no Django, no clock, no files."""
