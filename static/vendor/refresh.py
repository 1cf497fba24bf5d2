#!/usr/bin/env python3
"""Copies the pinned front-end packages here with the npm client and writes VENDOR.md; run by hand when a pin moves."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SPRITE = HERE.parent / "img" / "icons.svg"
MANIFEST = HERE / "VENDOR.md"
NPM = shutil.which("npm") or sys.exit("npm is not installed; it is needed only to refresh these files")


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned package: which of its members are kept, and under which names."""

    name: str
    version: str
    licence: str
    members: dict[str, str]


PACKAGES = (
    Package(
        "htmx.org",
        "2.0.10",
        "0BSD",
        {"dist/htmx.min.js": "htmx.min.js", "LICENSE": "htmx.min.js.LICENSE.txt"},
    ),
    # The package carries no licence file of its own; the notice at the head of the style sheet is kept in it.
    Package("@tabler/core", "1.6.1", "MIT", {"dist/css/tabler.min.css": "tabler.min.css"}),
    Package(
        "plotly.js-finance-dist-min",
        "4.1.0",
        "MIT",
        {"plotly-finance.min.js": "plotly-finance.min.js", "LICENSE": "plotly-finance.min.js.LICENSE.txt"},
    ),
    Package(
        "@fontsource-variable/inter",
        "5.3.0",
        "OFL-1.1",
        {
            "files/inter-latin-wght-normal.woff2": "inter-latin-wght-normal.woff2",
            "LICENSE": "inter-latin-wght-normal.woff2.LICENSE.txt",
        },
    ),
)
ICONS = Package("@tabler/icons", "3.51.0", "MIT", {"LICENSE": "tabler-icons.LICENSE.txt"})
# The map is not shipped, and hashed static names refuse a reference that leads nowhere.
SOURCE_MAP = re.compile(rb"\n?/[*/]# sourceMappingURL=[^\n]*\n?\Z")
SYMBOL = re.compile(r'<symbol id="([\w-]+)"[^>]*>.*?</symbol>', re.DOTALL)
SHAPES = re.compile(r"<(?:path|circle|rect|line|polyline|ellipse)\b[^>]*/>")


def fetch(package: Package, folder: Path) -> Path:
    """Unpacks a package with the npm client and says where it lies."""
    spec = f"{package.name}@{package.version}"
    answer = subprocess.run(
        [NPM, "pack", spec, "--json", "--pack-destination", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    archive = folder / str(json.loads(answer.stdout)[0]["filename"])
    target = folder / archive.stem
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    found = json.loads((target / "package" / "package.json").read_text(encoding="utf-8"))
    if (found["version"], found["license"]) != (package.version, package.licence):
        sys.exit(f"{spec}: found version {found['version']}, licence {found['license']}")
    return target / "package"


def copy_members(package: Package, source: Path) -> None:
    for member, name in package.members.items():
        (HERE / name).write_bytes(SOURCE_MAP.sub(b"\n", (source / member).read_bytes()))


def redraw_sprite(icons: Path) -> None:
    """Every symbol named like a Tabler outline is redrawn from it; our own (s-*, mark) stay as they are."""

    def redraw(match: re.Match[str]) -> str:
        outline = icons / "icons" / "outline" / f"{match[1]}.svg"
        if match[1] == "mark" or match[1].startswith("s-"):
            return match[0]
        if not outline.exists():
            sys.exit(f"{SPRITE.name}: no icon is called {match[1]}")
        found = [" ".join(shape.split()) for shape in SHAPES.findall(outline.read_text(encoding="utf-8"))]
        shapes = [shape for shape in found if 'stroke="none"' not in shape]
        return f'<symbol id="{match[1]}" viewBox="0 0 24 24">{"".join(shapes)}</symbol>'

    SPRITE.write_text(SYMBOL.sub(redraw, SPRITE.read_text(encoding="utf-8")), encoding="utf-8")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest_lines() -> list[str]:
    lines = [
        "# Vendored front-end files",
        "",
        "Written by `refresh.py`; `tests/test_vendor.py` re-hashes every file. Each is the package's own, byte for",
        "byte, without the comment that names a source map.",
        "",
        "| file | package | version | licence | SHA-256 |",
        "|---|---|---|---|---|",
    ]
    for package in (*PACKAGES, ICONS):
        for name in package.members.values():
            where = f"{package.name} | {package.version} | {package.licence}"
            lines.append(f"| {name} | {where} | {digest(HERE / name)} |")
    sprite = f"{ICONS.name} and our own shapes | {ICONS.version} | {ICONS.licence}"
    lines.append(f"| ../img/{SPRITE.name} | {sprite} | {digest(SPRITE)} |")
    return lines


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for package in PACKAGES:
            copy_members(package, fetch(package, folder))
        icons = fetch(ICONS, folder)
        copy_members(ICONS, icons)
        redraw_sprite(icons)
    MANIFEST.write_text("\n".join(manifest_lines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
