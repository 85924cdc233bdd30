"""What a torch.export archive may hold: a graph of known operators and plain tensors.

`torch.export.load` trusts its file: it unpickles what it cannot read otherwise, loads compiled libraries,
evaluates expressions as Python, and calls any function below `torch` that the graph names. So an archive is
checked here before PyTorch sees it, with PyTorch's own reader of archives, and pickles are refused while it is
loaded.
"""

import contextlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from inversionlab.core.settings import ConfigError
from inversionlab.core.weights import refuse_larger

_LOCK = threading.Lock()
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|torchvision|quantized_decomposed)\.\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|getitem|and_|or_|not_|eq|ne|lt|le|gt|ge)"
    r"|math\.(ceil|floor|trunc|sqrt)"
    r"|torch\.sym_(int|float|not|max|min|ite|sum)"
)
"""The operators that a graph may call."""
_FILE_OPERATORS = re.compile(r"torch\.ops\.aten\.(save|load|from_file|_?print|warn)\b")
"""Of those: operators that touch files."""
_EXPRESSION = re.compile(
    r"(?:Symbol|Integer|Float|Rational|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|CeilToInt"
    r"|FloorToInt|TruncToInt|ToFloat|ModularIndexing|Where|IntTrueDiv|FloatTrueDiv|PowByNatural|FloatPow|And|Or|Not"
    r"|Equality|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|Eq|Ne|true|false"
    r"|'[a-z]{1,2}\d+'|'-?[\d.]+(?:e-?\d+)?'|[a-z]+=(?:True|False|\d+)"
    r"|[a-z]{1,2}\d+|\d+(?:\.\d+)?|[-+*/%(),<>=&|~ ])*"
)
"""A size as a formula of other sizes, in SymPy's notation."""
_CONTAINERS = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
"""The structures in which a graph may take inputs and give outputs."""


def check_archive(raw: bytes, name: str) -> None:
    """Refuse an archive that could execute anything when it is loaded or run.

    Args:
        raw: the bytes of a `*.pt2` file.
        name: the key and value that name the model in the recipe.

    Raises:
        ConfigError: the archive is damaged or old, holds one that would take more memory than it has bytes, or
            holds a pickled object, a compiled library or a call of anything but an operator; the text then says
            that nothing was executed.
    """
    from torch.export.pt2_archive import PT2ArchiveReader

    try:
        reader = PT2ArchiveReader(io.BytesIO(raw))
        records = {record: reader.read_bytes(record) for record in reader.get_file_names()}
    except Exception as error:  # PyTorch raises errors of a dozen kinds
        raise ConfigError(
            f"{name}: is damaged, or was written before PyTorch 2.8; export it again by torch.export.save"
        ) from error
    for record, held in records.items():
        if record.endswith(".pt"):
            with contextlib.suppress(zipfile.BadZipFile):
                refuse_larger(
                    held, f"{name}: `{record}`", "export the model again by torch.export.save"
                )
        if fault := _fault(record, held):
            raise ConfigError(
                f"{name}: {fault}, which could run code from the file; it was not executed. Export the model "
                "again from its code by torch.export.export and torch.export.save"
            )


def _fault(record: str, held: bytes) -> str:
    """What a record of the archive holds that it must not; "" if nothing."""
    if record.startswith("data/aotinductor/") or record.endswith((".so", ".cubin", ".dll")):
        return f"holds the compiled library `{record}`"
    if record.endswith(".pt"):
        # Example inputs, and the weights of older archives.
        try:
            torch.load(io.BytesIO(held), map_location="cpu", weights_only=True)
        except Exception:
            return f"holds objects beside tensors in `{record}`"
        return ""
    if not record.endswith(".json"):
        return ""
    try:
        return _fault_of_json(json.loads(held), record)
    except (ValueError, RecursionError):
        return f"holds `{record}`, which is not readable"


def _fault_of_json(value: Any, record: str) -> str:
    if isinstance(value, list):
        return next((fault for item in value if (fault := _fault_of_json(item, record))), "")
    if not isinstance(value, dict):
        return ""
    for key, item in value.items():
        called = key == "as_operator" or (key == "target" and "inputs" in value)
        if called and not (
            isinstance(item, str) and _OPERATORS.fullmatch(item) and not _FILE_OPERATORS.match(item)
        ):
            return f"calls `{str(item)[:80]}`"
        if key == "expr_str" and not (isinstance(item, str) and _EXPRESSION.fullmatch(item)):
            return f"has the size `{str(item)[:80]}`"
        if key in ("in_spec", "out_spec") and item is not None and not _plain_structure(item):
            return "takes or gives objects of other types than tuples, lists and dictionaries"
        if key == "use_pickle" and item is not False:
            return f"holds a pickled tensor in `{record}`"
        if key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(item)):
            return f"holds the object `{str(item)[:80]}`"
        if fault := _fault_of_json(item, record):
            return fault
    return ""


def _plain_structure(text: Any) -> bool:
    """Whether a tree of inputs or outputs is made of plain containers alone, with at most names as keys."""
    version, root = json.loads(text)
    nodes = [root]
    while nodes:
        node = nodes.pop()
        nodes += node["children_spec"]
        context = json.loads(node["context"] or "null")
        names = [] if context is None else context
        if node["type"] not in {None, *_CONTAINERS} or not isinstance(names, list):
            return False
        if not all(isinstance(item, str | int) for item in names):
            return False
    return bool(version == 1)


@contextlib.contextmanager
def pickles_refused() -> Iterator[None]:
    """While this is open, `torch.load` reads tensors and plain values alone, and nothing else is unpickled.

    Other threads are held to it too: one that loads a pickle at the same time gets the same error.
    """
    from torch.export.pt2_archive import _package

    load = torch.load

    def tensors_only(*args: Any, **options: Any) -> Any:
        try:
            return load(*args, **{**options, "weights_only": True})
        except Exception:
            # PyTorch's message advises the loader that would execute what is in the file.
            return refuse()

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("it holds a pickled object, which was not executed") from None

    with (
        _LOCK,
        mock.patch.object(torch, "load", tensors_only),
        # The one place where the package unpickles without `torch.load`.
        mock.patch.object(_package, "pickle", mock.Mock(loads=refuse)),
    ):
        yield
