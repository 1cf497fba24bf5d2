#!/usr/bin/env python
"""Django's command line, for operators and developers."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] == ["demo"]:
        # It starts processes that have secrets, and needs none itself.
        os.environ.setdefault("BULKHEAD_PROCESS", "bootstrap")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
