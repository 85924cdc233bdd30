"""InversionLab: how much of its training data a recognizer leaks to model inversion, and which defenses help."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "AuditError": "distributed.errors",
    "ConfigError": "core.settings",
    "Inverted": "api.inverted",
    "Report": "api.report",
    "audit": "api.auditing",
    "invert": "api.inversion",
    "load_report": "api.report",
}
"""Where each name of the Python API is. `__init__.pyi` tells the same to type checkers."""

__all__ = [*_PLACES, "__version__"]


def __getattr__(name: str) -> Any:
    """A name of the Python API, imported when it is first asked for: PyTorch and Ray take seconds."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
