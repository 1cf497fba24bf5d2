"""The shape of the code: import contracts, size budgets, opening lines, who opens a scope; each shown to bite."""

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

APPS = ("config", "alerts", "margin", "portfolios", "advisors")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_TEMPLATE_LINES = 400, 40, 120

# A contract's id -> (a module of ours, an import that it must not have).
PLANTED_IMPORTS = {
    "apps": ("advisors/selectors/people.py", "import margin.selectors"),
    "modules": ("advisors/services/people.py", "import advisors.views"),
    "pure": ("margin/engine/solve.py", "import django.db"),
    "fold": ("portfolios/fold.py", "import django.db"),
    "models": ("margin/views/home.py", "import margin.models"),
    "tasks": ("margin/tasks.py", "import celery"),
    "wall": ("config/db/catalogue.py", "import advisors.models"),
    "doors": ("portfolios/views/imports.py", "import portfolios.venues"),
}


def contracts() -> dict[str, str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return {contract["id"]: contract["name"] for contract in listed}


def lint(tree: Path, contract: str) -> subprocess.CompletedProcess[str]:
    command = "from importlinter.cli import lint_imports_command as lint; lint()"
    return subprocess.run(
        [
            sys.executable,
            "-c",
            command,
            "--no-logo",
            "--contract",
            contract,
            "--cache-dir",
            str(tree / "cache"),
        ],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code to plant things in."""
    copy = tmp_path_factory.mktemp("tree")
    for app in APPS:
        shutil.copytree(ROOT / app, copy / app, ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    (copy / "portfolios" / "venues.py").write_text('"""Venues."""\n')
    return copy


def test_every_contract_has_a_planted_import() -> None:
    assert contracts().keys() == PLANTED_IMPORTS.keys()


@pytest.mark.parametrize("contract", PLANTED_IMPORTS)
def test_contract_is_kept_and_names_a_planted_import(tree: Path, contract: str) -> None:
    name = contracts()[contract]
    sound = lint(tree, contract)
    assert sound.returncode == 0, sound.stdout
    assert f"{name} KEPT" in sound.stdout
    file, planted = PLANTED_IMPORTS[contract]
    former = (tree / file).read_text()
    (tree / file).write_text(f"{former}\n{planted}\n")
    try:
        broken = lint(tree, contract)
    finally:
        (tree / file).write_text(former)
    assert broken.returncode != 0
    assert f"{name} BROKEN" in broken.stdout
    assert planted.removeprefix("import ").partition(".")[0] in broken.stdout.partition("Broken contracts")[2]


def test_module_outside_the_layers_is_named(tree: Path) -> None:
    stray = tree / "margin" / "toolbox.py"
    stray.write_text('"""Where does this belong?"""\n')
    try:
        broken = lint(tree, "modules")
    finally:
        stray.unlink()
    assert broken.returncode != 0
    assert "margin.toolbox" in broken.stdout


# Rules that a file keeps or breaks by itself: from its path and text to what is wrong with it.
Rule = Callable[[str, str], Iterator[str]]


def functions_of(text: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def file_size(path: str, text: str) -> Iterator[str]:
    if (lines := len(text.splitlines())) > MAX_FILE_LINES:
        yield f"{path} has {lines} lines"


def function_size(path: str, text: str) -> Iterator[str]:
    for function in functions_of(text):
        lines = (function.end_lineno or 0) - function.lineno + 1
        if lines > MAX_FUNCTION_LINES:
            yield f"{path}: {function.name} has {lines} lines"


def opening_line(path: str, text: str) -> Iterator[str]:
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    if not first.endswith((".", "?")):
        yield f"{path} does not open with a sentence that says what lives there"


def inline_imports(path: str, text: str) -> Iterator[str]:
    for function in functions_of(text):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield f"{path}: {function.name} imports inside"


def module_name(path: str, text: str) -> Iterator[str]:
    if Path(path).stem in {
        "utils",
        "util",
        "helpers",
        "helper",
        "common",
        "core",
        "misc",
        "signals",
        "admin",
    }:
        yield f"{path} is named for nothing"


# Words that must not stand in the product, each with where it may stand all the same.
FORBIDDEN_WORDS = {
    "task_always_eager": (),
    "TemplateResponse": (),
    "StreamingHttpResponse": (),
    "ModelForm": (),
    "ModelSerializer": (),
    "contrib.admin": (),
    "get_user_model": (),
    "unittest.mock": (),
    "pickle": (),
    "app.scope": ("config/db/",),
    "bulkhead_owner": ("config/db/", "config/settings.py"),
}


def forbidden_words(path: str, text: str) -> Iterator[str]:
    for word, places in FORBIDDEN_WORDS.items():
        if word in text and not path.startswith(places or ("-",)):
            yield f"{path} says {word}"


COMMANDS = "management/commands/"
# Who may put a scope in force: whoever else needs tenant data is called by one of these.
OPENERS = {
    "set_scope": {"advisors/scope.py", "config/db/base.py", "advisors/services/exports.py"},
    "enter_scope": {"advisors/scope.py", "advisors/middleware.py", "advisors/tokens.py"},
    "open_scope": {
        "advisors/scope.py",
        "advisors/jobs.py",
        "advisors/accounts.py",
        "advisors/services/people.py",
        "advisors/services/tokens.py",
        "advisors/services/exports.py",
        "config/demo/ledger.py",
        "config/benchmarks/past.py",
    },
    "firm_scope": {
        "advisors/jobs.py",
        "advisors/services/exports.py",
        "margin/services/recompute.py",
        "margin/services/check.py",
        "margin/services/days.py",
        "margin/services/funding.py",
        "margin/services/house.py",
        "config/demo/ledger.py",
        "config/demo/people.py",
        "config/benchmarks/sweep.py",
        "config/metrics.py",
    },
}


def names_in(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias | ast.FunctionDef):
            found.add(node.name)
    return found


def scope_openers(path: str, text: str) -> Iterator[str]:
    for opener in OPENERS.keys() & names_in(text):
        if path not in OPENERS[opener] and (COMMANDS not in path or opener in {"set_scope", "enter_scope"}):
            yield f"{path} uses {opener}"


USER_MODULES = {"advisors/models.py", "advisors/accounts.py", "advisors/adapters.py"}


def users(path: str, text: str) -> Iterator[str]:
    """The table of credentials knows no firm's wall, so that one module alone asks it."""
    if path in USER_MODULES:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "advisors.models":
            yield from (f"{path} imports User" for alias in node.names if alias.name == "User")


EVERYWHERE: tuple[Rule, ...] = (file_size, function_size, opening_line, inline_imports, module_name)
PRODUCT: tuple[Rule, ...] = (forbidden_words, scope_openers, users)


def offences(root: Path, folders: tuple[str, ...], rules: tuple[Rule, ...]) -> list[str]:
    found = []
    for folder in folders:
        for file in sorted((root / folder).rglob("*.py")):
            path = file.relative_to(root).as_posix()
            if "/migrations/" not in path:
                text = file.read_text()
                found += [offence for rule in rules for offence in rule(path, text)]
    return found


@pytest.mark.parametrize("rule", [*EVERYWHERE, *PRODUCT])
def test_product_keeps_the_rule(rule: Rule) -> None:
    assert offences(ROOT, APPS, (rule,)) == []


@pytest.mark.parametrize("rule", EVERYWHERE)
def test_tests_keep_the_rule(rule: Rule) -> None:
    assert offences(ROOT, ("tests",), (rule,)) == []


def test_templates_are_short() -> None:
    sizes = {file: len(file.read_text().splitlines()) for file in (ROOT / "templates").rglob("*.html")}
    assert {file.name: lines for file, lines in sizes.items() if lines > MAX_TEMPLATE_LINES} == {}
    assert sizes


def test_openers_are_all_there() -> None:
    """A list that names modules which no longer open a scope would hide the next one."""
    stale = [
        f"{path} does not use {opener}"
        for opener, paths in OPENERS.items()
        for path in sorted(paths)
        if opener not in names_in((ROOT / path).read_text())
    ]
    assert stale == []


PLANTED_FILES: dict[Rule, tuple[str, str]] = {
    file_size: ("advisors/x.py", "a = 1\n" * 401),
    function_size: ("advisors/x.py", "def f():\n" + "    a = 1\n" * 40),
    opening_line: ("advisors/x.py", "a = 1\n"),
    inline_imports: ("advisors/x.py", "def f():\n    import os\n"),
    module_name: ("advisors/utils.py", '"""Things."""\n'),
    forbidden_words: ("margin/x.py", "CELERY = {'task_always_eager': True}\n"),
    scope_openers: ("margin/views/home.py", "from advisors.scope import open_scope\n"),
    users: ("advisors/selectors.py", "from advisors.models import Member, User\n"),
}


@pytest.mark.parametrize("rule", [*EVERYWHERE, *PRODUCT])
def test_rule_names_a_planted_offence(rule: Rule, tmp_path: Path) -> None:
    path, text = PLANTED_FILES[rule]
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    (offence,) = offences(tmp_path, ("advisors", "margin"), (rule,))
    assert offence.startswith(path)
