#!/usr/bin/env python
"""Django's command line, for operators and developers."""

import os
import sys

from django.core.management import execute_from_command_line

# They start processes that have secrets, or compare files, or run as the superuser of a throwaway server.
NEED_NO_SECRET = ("demo", "parity", "benchmark")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] and sys.argv[1] in NEED_NO_SECRET:
        os.environ.setdefault("BULKHEAD_PROCESS", "bootstrap")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
