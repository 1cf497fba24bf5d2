"""manage.py import_positions: the same import from a shell, under the worker's login."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from advisors import accounts
from portfolios.models import ImportBatch, Position
from tests.conftest import signed_in_as
from tests.portfolios.acting import acting_as, book_of
from tests.portfolios.files import make_file


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


def run(path, email: str, *options: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with signed_in_as("worker"):
        call_command("import_positions", str(path), "--as", email, *options, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "positions.csv"
    path.write_bytes(make_file({}, {"symbol": "ETHUSDT"}))
    return path


def test_command_imports_as_the_advisor(firm, file):
    assert run(file, firm.email("advisor")) == ("2 positions opened, 0 unchanged.", "")
    assert run(file, firm.email("advisor").upper())[0] == "Nothing new, 2 unchanged."
    with acting_as(firm):
        assert Position.objects.count() == 2
        assert set(ImportBatch.objects.values_list("member_id", "state")) == {(firm.advisor.id, "committed")}


def test_dry_run_says_what_would_happen_and_writes_nothing(firm, file):
    before = book_of(firm)
    assert run(file, firm.email("advisor"), "--dry-run")[0] == "2 positions would be opened, 0 unchanged."
    assert book_of(firm) == before
    with acting_as(firm):
        assert ImportBatch.objects.count() == 0


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_problems_are_printed_by_line_and_column_and_nothing_is_written(firm, tmp_path, options):
    path = tmp_path / "bad.csv"
    path.write_bytes(make_file({}, {"quantity": "1E+05"}, {"symbol": "MAR1"}))
    before = book_of(firm)
    out, err = io.StringIO(), io.StringIO()
    with (
        signed_in_as("worker"),
        pytest.raises(CommandError, match="2 problems; nothing was written") as caught,
    ):
        call_command(
            "import_positions", str(path), "--as", firm.email("advisor"), *options, stdout=out, stderr=err
        )
    assert caught.value.returncode == 1
    lines = err.getvalue().splitlines()
    assert [line.split(": ")[0] for line in lines] == ["line 3, quantity", "line 4, symbol"]
    assert out.getvalue() == ""
    assert book_of(firm) == before
    with acting_as(firm):
        assert ImportBatch.objects.count() == 0


def test_more_than_a_hundred_problems_are_counted(firm, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(make_file(*({"quantity": "x"} for _ in range(130))))
    with pytest.raises(CommandError, match="130 problems, the first 100 of them above"):
        run(path, firm.email("advisor"))


@pytest.mark.parametrize("who", ["compliance", "admin", "nobody"])
def test_only_an_advisor_imports(firm, file, who):
    with pytest.raises(CommandError, match="is no advisor"):
        run(file, firm.email(who))


def test_suspended_advisor_does_not_import(firm, file):
    with acting_as(firm, "admin"):
        accounts.set_active(user_id=firm.advisor.user_id, active=False, now=timezone.now())
    with pytest.raises(CommandError, match="is no advisor"):
        run(file, firm.email("advisor"))


def test_file_that_cannot_be_read_is_one_clear_line(firm, tmp_path):
    for path, reason in ((tmp_path / "missing.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(CommandError, match=reason):
            run(path, firm.email("advisor"))


def test_file_beyond_the_limit_is_refused_without_reading_all_of_it(firm, tmp_path, settings):
    settings.IMPORT_MAX_BYTES = 1_000
    path = tmp_path / "large.csv"
    path.write_bytes(b"x" * 2_000)
    with pytest.raises(CommandError, match="1 problem; nothing"):
        run(path, firm.email("advisor"))
