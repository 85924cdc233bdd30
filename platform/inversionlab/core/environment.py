"""The numbers that environment variables give; a command checks all of them before it begins."""

import os
import re
from dataclasses import dataclass

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import cut


@dataclass(frozen=True)
class Number:
    """A number of zero or more in an environment variable."""

    variable: str
    default: float
    most: float
    unit: str

    def read(self) -> float:
        """What the environment says, else the default.

        Raises:
            ConfigError: it says no such number.
        """
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        plain = re.fullmatch(r"[0-9]*\.?[0-9]+(e[+-]?[0-9]{1,3})?", text, re.IGNORECASE)
        if plain is None or float(text) > self.most:
            raise ConfigError(
                f"{self.variable} = {cut(text)}: must be a number of {self.unit} from 0 to {self.most:,.0f}, such "
                f"as {self.default:g}, the default"
            )
        return float(text)


RAY_SECONDS = Number("INVERSIONLAB_RAY_SECONDS", 60, 99_999, "seconds")
"""How long Ray may take to start, or to answer."""
PROGRESS_SECONDS = Number("INVERSIONLAB_PROGRESS_SECONDS", 10, 99_999, "seconds")
"""The time between two lines about a training."""
COPIES_GB = Number("INVERSIONLAB_COPIES_GB", 100, 1e9, "GiB")
"""What all copies of a bucket's files on a node take at most."""
NUMBERS = (RAY_SECONDS, PROGRESS_SECONDS, COPIES_GB)


def check_environment() -> None:
    """Read every number once; raises ConfigError for one that is none."""
    for number in NUMBERS:
        number.read()
