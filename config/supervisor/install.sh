#!/bin/sh
# Installs one hashed lock into .venv, only when the lock has changed since the last time. Runs in the clone's top folder.
set -eu
lock=$1
stamp=".venv/installed-$lock"
sum=$(cksum < "$lock")

fail() {
    echo "bulkhead: $1" >&2
    exit 1
}

suits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null
}

pick_python() {
    for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        if suits "$name" && "$name" -c 'import ensurepip, venv' 2> /dev/null; then
            echo "$name"
            return
        fi
    done
    for name in python3.13 python3.12 python3.11 python3; do
        ! suits "$name" || fail "$name cannot make virtual environments: apt-get install $name-venv (or your system's like)"
    done
    fail "Python 3.11, 3.12 or 3.13 is needed; found: $(python3 --version 2>&1 | head -n 1)"
}

if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ] && suits .venv/bin/python; then
    exit 0
fi
if ! suits .venv/bin/python || ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
    python=$(pick_python)
    rm -rf .venv
    "$python" -m venv .venv || fail "$python could not make .venv"
fi
echo "Installing the packages of $lock into .venv ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock" ||
    fail "the packages of $lock could not be installed; the reason stands above"
echo "$sum" > "$stamp"
