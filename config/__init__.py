"""The settings package: it may import every app and none imports it."""
