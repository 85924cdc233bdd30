"""Imports the module of a search space, whose code is the user's own."""

import importlib.util
import traceback
from pathlib import Path
from typing import Any

from inversionlab.core.paths import did_you_mean
from inversionlab.core.settings import ConfigError, kind_at
from inversionlab.core.user_code import reason_of


def imported(path: Path) -> dict[str, Any]:
    """The module's public names in capitals.

    Raises:
        ConfigError: there is no such module, or it fails.
    """
    if kind_at(path, origin=str(path)) != "file":
        known = sorted(p.stem for p in path.parent.glob("*.py"))
        others = f"; there are: {', '.join(known)}" if known else f"; {path.parent} holds none"
        hint = did_you_mean(path, "*.py") or others
        raise ConfigError(f"{path}: there is no such search space{hint}")
    spec = importlib.util.spec_from_file_location(f"search_space_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(
            f"{path}: is not a Python module; a search space is a file that ends in .py"
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit would end the search without a word
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = f" (line {frames[-1].lineno})" if frames else ""
        raise ConfigError(f"{path}: fails when it is imported{line}: {reason_of(error)}") from error
    return {k: v for k, v in vars(module).items() if k.isupper() and not k.startswith("_")}
