"""The file of a given model's classes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.given import classes
from inversionlab.given.classes import read_classes

READ = {
    "lines": ("classes.txt", "Ann\nBob\n\n", ("Ann", "Bob")),
    "windows": ("classes.txt", "\ufeffAnn\r\nBob\r\n", ("Ann", "Bob")),
    "list": ("classes.json", '["Ann", "Bob"]', ("Ann", "Bob")),
    "names to numbers": ("classes.json", '{"Bob": 1, "Ann": 0}', ("Ann", "Bob")),
    "numbers to names": ("classes.json", '{"1": "Bob", "0": "Ann"}', ("Ann", "Bob")),
}


@pytest.mark.parametrize("case", READ)
def test_every_form_is_read(case: str, tmp_path: Path) -> None:
    name, text, expected = READ[case]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_classes(tmp_path / name) == expected


REFUSED = {
    "twice": ("classes.txt", "Ann\nBob\nAnn\n", "`Ann` appears twice"),
    "empty line": ("classes.txt", "Ann\n\nBob\n", "line 2 is empty"),
    "one": ("classes.txt", "Ann\n", "has 1 names; a recognizer knows 2 people or more"),
    "gap": ("classes.json", '{"Ann": 0, "Bob": 2}', "the numbers must be 0 to 1, each once"),
    "a name twice": (
        "classes.json",
        '{"Ann": 0, "Bob": 1, "Ann": 2}',
        "the key `Ann` is given twice",
    ),
    "a number twice": ("classes.json", '{"0": "Ann", "1": "Bob", "0": "Cid"}', "key `0` is given"),
    "no numbers": ("classes.json", '{"a": "Ann", "b": "Bob"}', "expected a list of names"),
    "no names": ("classes.json", "[1, 2]", "expected a list of names"),
    "empty name": ("classes.json", '["Ann", "", "Bob"]', "the name of class 1 is empty"),
    "blank name": ("classes.json", '{"Ann": 0, " ": 1}', "the name of class 1 is empty"),
    "half a character": (
        "classes.json",
        r'{"0": "Ann", "1": "\ud800"}',
        r"class 1, '\\ud800', is not text",
    ),
    "half of two": ("classes.json", r'["\udc80b", "Ann"]', r"class 0, '\\udc80b', is not text"),
    "no JSON": ("classes.json", "Ann", "is not readable as JSON"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said(case: str, tmp_path: Path) -> None:
    name, text, expected = REFUSED[case]
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=expected) as error:
        read_classes(tmp_path / name)
    assert f"classes = {tmp_path / name}" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.txt: there is no such file"):
        read_classes(tmp_path / "none.txt")


def test_what_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", Path("/dev/zero")):
        with pytest.raises(
            ConfigError, match=f"classes = {path}: is a pipe or a device; name a file"
        ):
            read_classes(path)
    monkeypatch.setattr(classes, "LARGEST", 2_000_000)
    (tmp_path / "large.txt").write_bytes(b"a\nb\n".ljust(2_000_001))
    with pytest.raises(ConfigError, match=r"large\.txt: has more than 2 MB; is it another file\?"):
        read_classes(tmp_path / "large.txt")
    (tmp_path / "large.txt").write_bytes(b"a\nb\n".ljust(2_000_000))
    assert read_classes(tmp_path / "large.txt") == ("a", "b")
