from __future__ import annotations

import sqlite3
import stat
import time
from itertools import pairwise
from pathlib import Path

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.ledger import Ledger, ledger_folder
from inversionlab.store.storage import StorageError


def ledger(folder: Path, budget: int | None = None, rate: float | None = None) -> Ledger:
    return Ledger(folder / "l", "form", budget, rate)


def test_what_is_counted_stays_counted_and_answers_stay(tmp_path: Path) -> None:
    first = ledger(tmp_path)
    assert first.grant(["a", "b"]).send == ["a", "b"]
    assert first.spent == 2
    first.keep({"a": "[1]"})
    first.close()
    again = ledger(tmp_path)
    assert again.spent == 2
    assert again.answers(["a", "b"]) == {"a": "[1]"}
    given = again.grant(["a", "b"])
    assert (given.answers, given.send) == ({"a": "[1]"}, ["b"])
    assert again.spent == 3
    again.close()


def test_another_form_has_other_answers_on_the_same_account(tmp_path: Path) -> None:
    one, two = ledger(tmp_path), Ledger(tmp_path / "l", "other", None, None)
    one.grant(["a"])
    one.keep({"a": "1"})
    assert two.answers(["a"]) == {}
    assert two.grant(["a"]).send == ["a"]
    assert one.spent == two.spent == 2
    one.close()
    two.close()


def test_the_budget_is_granted_to_the_last_query(tmp_path: Path) -> None:
    book = ledger(tmp_path, budget=3)
    assert book.grant(["a", "b"]).send == ["a", "b"]
    given = book.grant(["c", "d"])
    assert (given.send, given.unaffordable) == (["c"], ["d"])
    assert book.grant(["d"]).unaffordable == ["d"]
    book.give_up(["a"], refund=False)
    assert book.grant(["d"]).unaffordable == ["d"]
    book.give_up(["b"], refund=True)
    assert book.spent == 2
    assert book.grant(["d"]).send == ["d"]
    book.close()
    # A smaller budget than what was spent grants nothing.
    smaller = ledger(tmp_path, budget=1)
    assert smaller.grant(["e"]).unaffordable == ["e"]
    smaller.close()


def test_a_claim_ends_with_its_answer_or_its_owner(tmp_path: Path) -> None:
    one, two = ledger(tmp_path), ledger(tmp_path)
    one.grant(["a", "b", "c"])
    given = two.grant(["a", "d"])
    assert (given.send, given.elsewhere) == (["d"], ["a"])
    one.keep({"a": "1"})
    assert two.grant(["a"]).answers == {"a": "1"}
    one.give_up(["b"], refund=False)
    assert two.grant(["b"]).send == ["b"]
    assert two.grant(["c"]).elsewhere == ["c"]
    one.close()
    assert two.grant(["c"]).send == ["c"]
    two.close()
    assert not list((tmp_path / "l").glob("*.lock"))


def test_a_dead_owners_claims_are_no_ones(tmp_path: Path) -> None:
    one, two = ledger(tmp_path), ledger(tmp_path)
    with sqlite3.connect(one.file) as raw:
        raw.execute("INSERT INTO claims VALUES ('form', 'a', 'gone')")
        raw.execute("INSERT INTO claims VALUES ('form', 'b', 'killed')")
    raw.close()
    # A file that nobody holds the lock of is what a kill leaves.
    one.file.with_name("owner-killed.lock").touch()
    assert two.grant(["a", "b"]).send == ["a", "b"]
    assert not one.file.with_name("owner-killed.lock").exists()
    one.close()
    two.close()


def test_moments_are_an_interval_apart_over_all_owners(tmp_path: Path) -> None:
    books = [ledger(tmp_path, rate=0.1) for _ in range(2)]
    before = time.time()
    moments = [books[0].grant(["0"]).at]
    after = time.time()
    moments += [books[i % 2].grant([str(i)]).at for i in range(1, 5)]
    # What is not sent takes no moment.
    assert books[0].grant(["1"]).elsewhere == ["1"]
    moments.append(books[0].grant(["5"]).at)
    assert [b - a for a, b in pairwise(moments)] == pytest.approx([10] * 5)
    assert before <= moments[0] <= after
    before = time.time()
    books[0].give_up(["0"], refund=True, pause=300)
    after = time.time()
    assert before + 300 <= books[1].grant(["x"]).at <= after + 300
    for book in books:
        book.close()


def test_a_clock_that_was_set_back_stops_nobody(tmp_path: Path) -> None:
    book = ledger(tmp_path, rate=10.0)
    with sqlite3.connect(book.file) as raw:
        raw.execute("UPDATE account SET next = ?", (time.time() + 1e6,))
    raw.close()
    assert book.grant(["a"]).at <= time.time()
    book.close()


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    book.grant(["a"])
    files = list((tmp_path / "l").iterdir())
    assert {"ledger.db", "ledger.db-wal"} <= {f.name for f in files}
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "l").stat().st_mode) == 0o700
    book.close()


@pytest.mark.parametrize("damage", ["text", "layout"])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(damage: str, tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    file = tmp_path / "l" / "ledger.db"
    if damage == "text":
        file.write_text("This is no data base. " * 500)
    else:
        raw = sqlite3.connect(file)
        raw.execute("PRAGMA user_version = 99")
        raw.close()
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="cannot be used as a ledger of queries") as caught:
        ledger(tmp_path)
    assert "without one no budget is kept" in str(caught.value)
    if damage == "text":
        assert file.read_bytes() == before
    assert not list((tmp_path / "l").glob("*.lock"))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be opened or made"):
        ledger(tmp_path)


def test_a_ledger_that_fails_says_where(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    with sqlite3.connect(book.file) as raw:
        raw.execute("DROP TABLE account")
    raw.close()
    with pytest.raises(StorageError, match=r"ledger\.db: no such table"):
        book.grant(["a"])
    book.close()


def test_its_place_depends_on_the_url_alone(tmp_path: Path) -> None:
    one = EndpointSettings(url="https://host/a")
    folder = ledger_folder(one, str(tmp_path))
    assert folder.parent == tmp_path / "endpoints"
    cheaper = one.model_copy(update={"answer": "x", "budget": 7, "batch_size": 3})
    assert ledger_folder(cheaper, str(tmp_path)) == folder
    assert ledger_folder(one, f"file://{tmp_path}") == folder
    assert ledger_folder(EndpointSettings(url="https://host/b"), str(tmp_path)) != folder
    own = EndpointSettings(url="https://host/a", ledger=tmp_path / "own")
    assert ledger_folder(own, "s3://bucket/x") == tmp_path / "own" / folder.name
    with pytest.raises(
        ConfigError, match=r"s3://bucket/x is a bucket.*needs a local disk"
    ) as caught:
        ledger_folder(one, "s3://bucket/x")
    assert "endpoint.ledger = null" in str(caught.value)
