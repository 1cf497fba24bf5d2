"""Template filters of margin."""
