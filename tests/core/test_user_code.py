"""Imports of the user's code and their failures, and which edits change its digest."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.core.user_code import code_digest, import_object

NUMBER = itertools.count()


class Project:
    """A folder on the import path. `*` in names and contents stands for a name that no other test has."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, f"users_{next(NUMBER)}"
        root.mkdir(exist_ok=True)

    def write(self, name: str, text: str | bytes) -> Path:
        file = self.root / name.replace("*", self.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, str):
            text = text.replace("*", self.name).encode()
        file.write_bytes(text)
        return file

    def digest(self, module: str = "*") -> str:
        return code_digest(module.replace("*", self.name))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path / "project")
    monkeypatch.syspath_prepend(str(made.root))
    return made


def refused(path: str) -> str:
    with pytest.raises(ConfigError) as caught:
        import_object(path, "model")
    text = str(caught.value)
    assert text.startswith(f"model = {path}: cannot be imported")
    return text


def test_an_object_is_found_through_its_attributes(project: Project) -> None:
    project.write("*.py", "class Outer:\n    class Inner:\n        depth = 2\n")
    found = import_object(f"{project.name}:Outer.Inner.depth", "model")
    assert found == 2


@pytest.mark.parametrize("path", ["..:..", "a:", ":a", "a:b.", "a-b:c", "a.1:b", "a:b:c"])
def test_what_is_no_path_of_an_object_is_refused(path: str) -> None:
    assert refused(path).endswith("cannot be imported: must be of the form `package.module:Name`")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("x = 1\nraise BaseException('no')", "BaseException: no"),
        ("import sys\nsys.exit(3)", "it calls sys.exit(3)"),
        ("raise SystemExit", "it calls sys.exit()"),
        ("import sys\nsys.exit(0)", "it calls sys.exit(0) ("),
        ("x = 1\nnot_there", "NameError: name 'not_there' is not defined ("),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_"),
    ],
)
def test_an_import_that_raises_or_exits_is_refused(project: Project, code: str, told: str) -> None:
    project.write("*.py", code)
    assert told in refused(f"{project.name}:Net")


def test_the_line_of_the_users_code_that_raised_is_named(project: Project) -> None:
    project.write("*_helper.py", "\n\nraise KeyError('width')")
    project.write("*.py", "import *_helper")
    told = refused(f"{project.name}:Net")
    assert f"KeyError: 'width' ({project.name}_helper.py, line 3)" in told


def test_an_interrupt_is_not_taken_for_a_fault(project: Project) -> None:
    project.write("*.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        import_object(f"{project.name}:Net", "model")


def test_a_missing_name_gets_the_nearest(project: Project) -> None:
    project.write("*.py", "class FaceNet:\n    size = 3\n")
    told = refused(f"{project.name}:FaceNte")
    assert told.endswith(f"module `{project.name}` has no `FaceNte`; did you mean `FaceNet`?")
    told = refused(f"{project.name}:FaceNet.sise")
    assert told.endswith("`FaceNet` has no `sise`; did you mean `size`?")


def test_a_missing_module_is_named_and_where_to_run() -> None:
    told = refused("no_such_module_of_mine.nets:Net")
    assert "there is no module `no_such_module_of_mine`; run from the folder that holds it" in told


@pytest.mark.parametrize("path", ["random:Net", "random.nets:Net"])
def test_a_name_that_python_has_taken_is_noted(path: str) -> None:
    assert "`random` is Python's own module, so give yours another name" in refused(path)


def test_a_name_that_an_installed_package_has_taken_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("class Net: pass")
    monkeypatch.chdir(tmp_path)
    told = refused("torch:FaceNetOfMine")
    assert "`torch` was found at " in told
    assert f"and not at {tmp_path / 'torch.py'}: rename one of them" in told


@pytest.mark.parametrize("path", ["nets", ":Net", "nets:"])
def test_a_path_without_both_parts_is_refused(path: str) -> None:
    assert "must be of the form `package.module:Name`" in refused(path)


def test_one_file_has_its_own_hash(project: Project) -> None:
    """As before imports counted: what was stored stays valid."""
    file = project.write("*.py", "import json\nimport torch\nfrom inversionlab.core import seeds\n")
    project.write("*_other.py", "x = 1")
    assert project.digest() == hashlib.sha256(file.read_bytes()).hexdigest()


IMPORTS = {
    "plain": "import *_helper",
    "renamed": "import *_helper as h",
    "from": "from *_helper import x",
    "star": "from *_helper import *",
    "in a function": "def f():\n    from *_helper import x",
    "guarded": "try:\n    import *_helper\nexcept ImportError:\n    pass",
    "by a literal": "import importlib\nh = importlib.import_module('*_helper')",
}


@pytest.mark.parametrize("statement", IMPORTS.values(), ids=IMPORTS)
def test_an_edit_in_an_imported_helper_counts(project: Project, statement: str) -> None:
    project.write("*.py", statement)
    project.write("*_helper.py", "import *_deeper")
    project.write("*_deeper.py", "x = 1")
    project.write("*_unrelated.py", "x = 1")
    before = project.digest()
    project.write("*_unrelated.py", "x = 2")
    assert project.digest() == before
    project.write("*_deeper.py", "x = 2")
    after = project.digest()
    assert after != before
    project.write("*_helper.py", "import *_deeper  # a comment")
    assert project.digest() not in (before, after)


def test_every_file_of_the_package_counts_and_nothing_is_executed(project: Project) -> None:
    project.write("*/__init__.py", "raise SystemExit")
    project.write("*/sub/__init__.py", "raise SystemExit")
    project.write("*/sub/nets.py", "from . import blocks\nfrom ..common import x\n1 / 0")
    for name in ("*/sub/blocks.py", "*/common.py", "*/plugins/found_by_a_string.py"):
        project.write(name, "x = 1")
    seen = {project.digest("*.sub.nets")}
    for name in ("*/__init__.py", "*/sub/__init__.py", "*/sub/blocks.py", "*/common.py"):
        project.write(name, "x = 2")
        seen.add(project.digest("*.sub.nets"))
    project.write("*/plugins/found_by_a_string.py", "x = 2")
    seen.add(project.digest("*.sub.nets"))
    assert len(seen) == 6
    assert not [name for name in sys.modules if name.startswith(project.name)]


@pytest.mark.parametrize(
    "statement",
    [
        "from . import blocks",
        "from .blocks import x",
        "from .. import common",
        "from ..common import x",
    ],
)
def test_relative_imports_are_followed_where_no_package_file_stands(
    project: Project, statement: str
) -> None:
    """In a namespace, where only what is imported counts; the namespace within it is not loaded."""
    project.write("*/sub/nets.py", statement)
    name = "common" if ".." in statement else "sub/blocks"
    project.write(f"*/{name}.py", "x = 1")
    project.write("*/sub/unrelated.py", "x = 1")
    before = project.digest("*.sub.nets")
    project.write("*/sub/unrelated.py", "x = 2")
    assert project.digest("*.sub.nets") == before
    project.write(f"*/{name}.py", "x = 2")
    assert project.digest("*.sub.nets") != before


def test_packages_on_the_way_to_a_helper_count(project: Project) -> None:
    project.write("*.py", "import *_lib.parts.block")
    for name in ("*_lib/__init__.py", "*_lib/parts/__init__.py", "*_lib/parts/block.py"):
        project.write(name, "x = 1")
    project.write("*_lib/unrelated.py", "x = 1")
    seen = {project.digest()}
    for name in ("*_lib/__init__.py", "*_lib/parts/__init__.py", "*_lib/parts/block.py"):
        project.write(name, "x = 2")
        seen.add(project.digest())
    assert len(seen) == 4
    project.write("*_lib/unrelated.py", "x = 2")
    assert project.digest() in seen


def test_circular_imports_end(project: Project) -> None:
    project.write("*.py", "import *_helper")
    project.write("*_helper.py", "import *\nimport *_helper")
    before = project.digest()
    project.write("*_helper.py", "import *\nimport *_helper\n")
    assert project.digest() != before


def test_a_helper_with_a_syntax_error_counts_by_its_content(project: Project) -> None:
    project.write("*.py", "def f():\n    import *_helper\n")
    project.write("*_helper.py", "def g(:")
    before = project.digest()
    project.write("*_helper.py", "def g():")
    assert project.digest() != before
    project.write("*.py", "import *_helper\n")
    told = refused(f"{project.name}:Net")
    assert f"({project.name}_helper.py, line 1)" in told


def test_the_place_and_compiled_copies_do_not_count(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("*/__init__.py", "from . import nets")
    project.write("*/nets.py", "import *_helper\n")
    project.write("*_helper.py", "x = 1\n")
    before = project.digest("*.nets")
    subprocess.run([sys.executable, "-m", "compileall", "-q", project.root], check=True)
    assert [*project.root.rglob("*.pyc")]
    assert project.digest("*.nets") == before
    moved = tmp_path / "elsewhere"
    shutil.move(project.root, moved)
    assert project.digest("*.nets") == ""
    monkeypatch.syspath_prepend(str(moved))
    assert project.digest("*.nets") == before


def test_a_rename_counts(project: Project) -> None:
    project.write("*.py", "import *_a, *_b")
    project.write("*_a.py", "x = 1")
    project.write("*_b.py", "x = 2")
    before = project.digest()
    project.write("*_a.py", "x = 2")
    project.write("*_b.py", "x = 1")
    assert project.digest() != before


def test_a_module_without_source_counts_by_its_bytes(project: Project) -> None:
    project.write("*.py", "import *_fast")
    file = project.write("*_fast.so", b"\x7fELF one")
    before = project.digest()
    file.write_bytes(b"\x7fELF two")
    assert project.digest() != before


def test_a_package_installed_on_the_path_counts_only_where_it_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then all its files count, but not the packages that it imports."""
    monkeypatch.syspath_prepend(str(project.root / "site-packages"))
    project.write("*.py", "import *_installed")
    project.write("site-packages/*_installed/__init__.py", "import *_library")
    project.write("site-packages/*_installed/nets.py", "x = 1")
    project.write("site-packages/*_library.py", "x = 1")
    mine, theirs = project.digest(), project.digest("*_installed")
    project.write("site-packages/*_library.py", "x = 2")
    assert (project.digest(), project.digest("*_installed")) == (mine, theirs)
    project.write("site-packages/*_installed/nets.py", "x = 2")
    assert project.digest() == mine
    assert project.digest("*_installed") != theirs


def test_a_module_known_by_its_file_alone_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script is `__main__`, which no import path leads to."""
    script = tmp_path / "script.py"
    script.write_text("x = 1")
    module = type(sys)("main_of_a_test")
    module.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "main_of_a_test", module)
    assert code_digest("main_of_a_test") == hashlib.sha256(b"x = 1").hexdigest()


def test_code_without_a_file_has_no_digest() -> None:
    assert code_digest("no_such_module_of_mine") == ""
    assert code_digest("sys") == ""


def test_the_platforms_own_module_counts_alone() -> None:
    from inversionlab.recognizers import vgg16

    expected = hashlib.sha256(Path(vgg16.__file__).read_bytes()).hexdigest()
    assert code_digest("inversionlab.recognizers.vgg16") == expected
