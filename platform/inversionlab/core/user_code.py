"""The user's own code: imports an object by its path, blames failures on it by name, and hashes its files.

A network that is built from the user's code depends on more than one file. So `code_digest` covers the whole
package and every module of the user's that it imports. Files are found and parsed, never executed.
"""

import ast
import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import json
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from inversionlab.core.settings import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = {"site-packages", "dist-packages"}
"""Folders that installed packages lie in."""
_STANDARD = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}


@contextlib.contextmanager
def blamed_on(what: str) -> Iterator[None]:
    """Whatever the user's code raises inside becomes a ConfigError that begins with `what`, `sys.exit` included.

    KeyboardInterrupt passes through.
    """
    try:
        yield
    except (KeyboardInterrupt, ConfigError):
        raise
    except BaseException as error:
        # SystemExit and other exceptions that are no `Exception` would end the run without a word.
        reason = reason_of(error)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
        line = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        raise ConfigError(f"{what}: {reason}{line}") from error


def reason_of(error: BaseException) -> str:
    """What the user's code raised, in words."""
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({'' if error.code is None else repr(error.code)})"
    return f"{type(error).__name__}: {error}"


def import_object(path: str, key: str) -> Any:
    """The object at `package.module:Name`, or `package.module:Name.attribute`.

    Raises:
        ConfigError: it cannot be imported, the import raises anything or exits, or there is no such name; the text
            begins with `key = path` and says what is nearest.
    """
    module_name, _, attributes = path.partition(":")
    what = f"{key} = {path}: cannot be imported"
    if not all(part.isidentifier() for part in (*module_name.split("."), *attributes.split("."))):
        raise ConfigError(f"{what}: must be of the form `package.module:Name`")
    with blamed_on(what):
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name not in (*_parents(module_name), module_name):
                raise
            note = _shadow_note(module_name) or "; run from the folder that holds it"
            raise ConfigError(f"{what}: there is no module `{error.name}`{note}") from error
    where = f"module `{module_name}`"
    for name in attributes.split("."):
        with blamed_on(what):
            try:
                found = getattr(found, name)
            except AttributeError as error:
                near = difflib.get_close_matches(name, dir(found), n=1)
                note = f"; did you mean `{near[0]}`?" if near else _shadow_note(module_name)
                raise ConfigError(f"{what}: {where} has no `{name}`{note}") from error
        where = f"`{name}`"
    return found


def _shadow_note(module_name: str) -> str:
    """A note where Python found another module than the user's of the same name; else empty."""
    top = module_name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"; `{top}` is Python's own module, so give yours another name"
    here, spec = Path.cwd(), _spec_of(top)
    own = [file for file in (here / f"{top}.py", here / top) if file.exists()]
    if not own or spec is None:
        return ""
    places = [spec.origin, *(spec.submodule_search_locations or ())]
    if any(Path(place).resolve().is_relative_to(here.resolve()) for place in places if place):
        return ""
    return (
        f"; `{top}` was found at {places[0] or places[-1]}, and not at {own[0]}: rename one of them"
    )


def code_digest(module_name: str) -> str:
    """SHA-256 of the code that a module of the user's is made of; empty if it has no file.

    It covers the module, all `.py` files of the outermost regular package that holds it, and every module that it
    imports, directly or not, anywhere in its code. What belongs to Python, to an installed package or to
    InversionLab is left out. Names relative to the import path and contents count, places do not. A module of one
    file that imports nothing of the user's own has that file's SHA-256. Nothing is imported or executed.
    """
    files = _closure(module_name) | _package_files(module_name)
    if len(files) == 1:
        return hashlib.sha256(*files.values()).hexdigest()
    digests = sorted([name, hashlib.sha256(code).hexdigest()] for name, code in files.items())
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest() if files else ""


def _closure(module_name: str) -> dict[str, bytes]:
    """The named module and the modules of the user's that it imports: contents by relative names."""
    files: dict[str, bytes] = {}
    seen, waiting = set(), [module_name]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        spec = _spec_of(name)
        if spec is None or (file := _file_of(spec)) is None:
            # A namespace package has no file of its own.
            continue
        own = _is_users(file)
        if name != module_name and not own:
            continue
        relative = "/".join(name.split(".") if _is_package(spec) else name.split(".")[:-1])
        code = _content(spec, file)
        files[f"{relative}/{Path(file).name}".lstrip("/")] = code
        if own and file.endswith(".py"):
            waiting += _imports(code, name if _is_package(spec) else name.rpartition(".")[0])
            waiting += _parents(name)
    return files


def _package_files(module_name: str) -> dict[str, bytes]:
    """All `.py` files of the outermost regular package that holds the module: contents by relative names."""
    for name in [*_parents(module_name), module_name]:
        spec = _spec_of(name)
        if spec is None or not _is_package(spec) or (file := _file_of(spec)) is None:
            continue
        folder = Path(file).parent
        if folder.resolve() == _PACKAGE:
            return {}
        prefix = name.replace(".", "/")
        return {
            f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes()
            for path in folder.rglob("*.py")
            if path.is_file()
        }
    return {}


def _imports(code: bytes, package: str) -> Iterator[str]:
    """Every module that code in `package` may import, anywhere in the code; some may be names within modules."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        # Its content counts all the same; whoever imports it is told.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (*_parents(alias.name), alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: -(node.level - 1) or None] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (*_parents(module), module)
            yield from (f"{module}.{alias.name}" for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call) and node.args:
            called, first = ast.unparse(node.func).rpartition(".")[2], node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield from (*_parents(str(first.value)), str(first.value))


def _parents(name: str) -> list[str]:
    """The packages that hold a module, the outermost first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _spec_of(name: str) -> ModuleSpec | None:
    """Where a module would be imported from; None if nowhere. `importlib.util.find_spec` would run its parents."""
    found: ModuleSpec | None = None
    places: list[str] | None = None
    for part in [*_parents(name), name]:
        found = _found_in(places, part)
        if found is None:
            break
        places = list(found.submodule_search_locations or ())
    # A script, or a module that was loaded from outside the path, is known by its file alone.
    file = getattr(sys.modules.get(name), "__file__", None)
    return importlib.util.spec_from_file_location(name, file) if found is None and file else found


def _found_in(places: list[str] | None, name: str) -> ModuleSpec | None:
    """The module of this whole name in the folders of its package; None stands for the import path."""
    for finder in sys.meta_path:
        # Python looks up a namespace within a namespace among the loaded modules, and fails if that is not there.
        with contextlib.suppress(Exception):
            if (found := finder.find_spec(name, places)) is not None:
                return found
    tail = name.rpartition(".")[2]
    if folders := [str(Path(p, tail)) for p in places or () if Path(p, tail).is_dir()]:
        namespace = ModuleSpec(name, None, is_package=True)
        namespace.submodule_search_locations = folders
        return namespace
    return None


def _file_of(spec: ModuleSpec) -> str | None:
    """The file of a module; None for a namespace, or a module within the interpreter."""
    return spec.origin if spec.has_location else None


def _content(spec: ModuleSpec, file: str) -> bytes:
    """The bytes of a module's file, which may lie in an archive."""
    read = getattr(spec.loader, "get_data", None)
    content: bytes = read(file) if read is not None else Path(file).read_bytes()
    return content


def _is_package(spec: ModuleSpec) -> bool:
    return spec.submodule_search_locations is not None


def _is_users(file: str) -> bool:
    """Whether a file belongs neither to Python, nor to an installed package, nor to InversionLab."""
    # Code that has no file, as in a frame of `exec`, stands in brackets.
    if file.startswith("<") or _INSTALLED & {*Path(file).parts}:
        return False
    resolved = Path(file).resolve()
    return not any(resolved.is_relative_to(root) for root in (*_STANDARD, _PACKAGE))
