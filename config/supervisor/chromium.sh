#!/bin/sh
# Prints the path of a chromium for the browser tests, taken from the system's packages where it is missing:
# installed when root asks, unpacked into var/chromium for everybody else. Runs in the clone's top folder.
set -u
home="$(pwd)/var/chromium"
log="$(pwd)/var/log/chromium.log"
mkdir -p "$(pwd)/var/log"

find_browser() {
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome-stable google-chrome "$home/chromium"; do
        path=$(command -v "$name" 2> /dev/null) || continue
        if "$path" --version > /dev/null 2>&1; then
            echo "$path"
            return
        fi
    done
    return 1
}

install_as_root() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get install --quiet --yes chromium || { apt-get --quiet update && apt-get install --quiet --yes chromium; }
}

# The package and what it needs, unpacked beside each other, with a starter that knows where things are.
unpack_as_user() {
    rm -rf "$home" && mkdir -p "$home/apt/lists/partial" "$home/apt/cache/archives/partial" "$home/root" || return 1
    # apt reads options from a file: its command line cannot carry a path with a space.
    cat > "$home/apt/apt.conf" <<END || return 1
Debug::NoLocking "true";
Dir::State::Lists "$home/apt/lists";
Dir::Cache "$home/apt/cache";
APT::Sandbox::User "";
END
    export APT_CONFIG="$home/apt/apt.conf"
    apt-get --quiet update || return 1
    apt-get --quiet --yes --no-install-recommends --download-only install chromium fonts-liberation || return 1
    for package in "$home"/apt/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$home/root" || return 1
    done
    rm -rf "$home/apt"
    escaped=$(printf '%s' "$home" | sed 's/&/\&amp;/g; s/</\&lt;/g')
    printf '%s\n' '<?xml version="1.0"?>' '<fontconfig>' "<dir>$escaped/root/usr/share/fonts</dir>" \
        '<dir>/usr/share/fonts</dir>' "<cachedir>$escaped/font-cache</cachedir>" '</fontconfig>' > "$home/fonts.conf"
    cat > "$home/chromium" <<'END'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH=$(find "$here/root" -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
FONTCONFIG_FILE="$here/fonts.conf"
export LD_LIBRARY_PATH FONTCONFIG_FILE
exec "$here/root/usr/lib/chromium/chromium" "$@"
END
    chmod 755 "$home/chromium"
}

find_browser && exit 0
{
    if ! command -v apt-get; then
        echo "this system has no apt-get"
    elif [ "$(id -u)" = 0 ]; then
        install_as_root
    else
        unpack_as_user
    fi
} > "$log" 2>&1 < /dev/null
find_browser && exit 0
reason="no chromium was found and none could be had (see $log): install chromium from your system's packages"
if [ "$(id -u)" = 0 ] || [ -n "${CI:-}" ]; then
    echo "bulkhead: $reason" >&2
    exit 1
fi
echo "Browser tests are skipped: $reason" >&2
