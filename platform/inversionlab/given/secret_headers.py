"""Request headers whose values are secrets: read from the environment, held in memory, never shown.

They stand in no recipe, record, log or error. Texts that come from outside may repeat them, so they are shown as
`redacted` leaves them.
"""

import json
import os
from dataclasses import dataclass, field
from typing import Self

from inversionlab.core.settings import ConfigError
from inversionlab.given.endpoint_settings import EndpointSettings

HIDDEN = "[hidden]"
SHORTEST = 4
"""Characters of a part of a value that is hidden by itself, such as the token after `Bearer`."""


@dataclass(frozen=True)
class SecretHeaders:
    """Headers by name; the values are in no `repr`."""

    values: dict[str, str] = field(repr=False)

    @classmethod
    def read(cls, settings: EndpointSettings) -> Self:
        """The values of the environment variables that the settings name.

        Raises:
            ConfigError: a variable is missing, or its value cannot stand in a header.
        """
        values = {}
        for name, variable in settings.headers.items():
            value = os.environ.get(variable)
            if not value:
                raise ConfigError(
                    f"victim.endpoint.headers.{name}: the environment variable {variable} is not set; export it "
                    "before the run"
                )
            if value != value.strip() or not (value.isascii() and value.isprintable()):
                raise ConfigError(
                    f"victim.endpoint.headers.{name}: the value of the environment variable {variable} cannot be "
                    "sent: it begins or ends with a blank, or holds a line break or a character beyond ASCII"
                )
            values[name] = value
        return cls(values)

    def redacted(self, text: str) -> str:
        """`text` without the values, whole or in parts."""
        secrets = set(self.values.values())
        secrets |= {p for v in secrets for p in v.split() if len(p) >= SHORTEST}
        secrets |= {json.dumps(secret)[1:-1] for secret in secrets}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text
