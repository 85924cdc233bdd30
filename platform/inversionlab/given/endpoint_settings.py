"""How a model behind an HTTP endpoint is asked."""

import re
from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from inversionlab.core.settings import AbsolutePath, Settings
from inversionlab.core.validation_errors import HIDDEN
from inversionlab.given.endpoint_url import fault_of_url, shown_url

OWN_HEADERS = frozenset(
    {"connection", "content-length", "content-type", "host", "idempotency-key", "transfer-encoding"}
)
"""The headers that the client sets itself, in small letters."""


class EndpointSettings(Settings):
    """An HTTP service that recognizes people on pictures.

    The ledger of queries belongs to the URL: another `request`, `answer` or `budget` does not start it anew.
    """

    url: str
    """The URL that pictures are sent to, by POST. It must hold no secret. Secrets belong in `headers`. It has no
    user, no fragment and no path parameters. Its query has only plain values: a few characters, versions, and
    words where the parameter's name says what they are."""
    request: Literal["json", "multipart"] = "json"
    """json: base64 pictures in a JSON object; multipart: a form with picture files."""
    field: str = Field(default="images", min_length=1, max_length=256)
    """The JSON key (a list of pictures, or one picture where `batch_size` is 1), or the form's field."""
    encoding: Literal["png", "jpeg"] = "png"
    """How pictures are encoded. PNG loses only what rounding to 8 bits per channel loses."""
    batch_size: int = Field(default=1, ge=1, le=4096)
    """Maximum number of pictures in a request."""
    answer: str = Field(default="scores", min_length=1, max_length=1024)
    """A JMESPath expression for the scores or labels in the answer: a list with an entry for each picture, or the
    entry itself where `batch_size` is 1. An entry is a list of scores, a class (its number or name), or, for
    `answers: top_k`, a list of {label, score} objects."""
    version: str = Field(default="", max_length=256)
    """A name of your own for the model behind the URL. Answers are kept and not asked for again, so change it when
    the model changes."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Request headers as NAME: VARIABLE; the value is read from this environment variable, such as
    {Authorization: FACES_TOKEN}. It has capitals, digits and underscores alone; most tokens have others."""
    budget: int | None = Field(default=None, ge=1)
    """The most queries (pictures sent) of all runs on this storage; null: no bound. It is never exceeded."""
    requests_per_second: float | None = Field(default=None, gt=0, le=1e6)
    """The most requests per second, by all workers together; null: no bound."""
    concurrency: int = Field(default=4, ge=1, le=1024)
    """The most requests in flight."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Time after which a request counts as failed."""
    retries: int = Field(default=5, ge=0, le=100)
    """How often a request is repeated, with growing pauses, after 429, 5xx, a time-out or a broken answer. A
    picture that the service may have worked on counts as a query again."""
    price: float | None = Field(default=None, ge=0)
    """What a query costs, in any currency, for `--plan`; null: it gives no cost."""
    ledger: AbsolutePath | None = None
    """A folder on a local disk for the ledger of queries and answers; null: `endpoints/` below the storage. Needed
    where the storage is a bucket or a network drive."""

    @property
    def address(self) -> str:
        """The URL for texts: without its query."""
        return shown_url(self.url)

    @field_validator("url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        if fault := fault_of_url(url):
            raise PydanticCustomError(HIDDEN, "{fault}", {"fault": fault})
        return url

    @field_validator("headers")
    @classmethod
    def _names_variables(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, variable in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
                # It may be the value, written in the wrong place.
                raise PydanticCustomError(
                    HIDDEN, "one of the names is not the name of a header, such as Authorization"
                )
            if name.lower() in OWN_HEADERS:
                raise PydanticCustomError(
                    HIDDEN, "`{name}` is set by the client itself; leave it out", {"name": name}
                )
            # What was written instead may be the secret itself.
            if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable):
                named = f"`{name}`" if re.fullmatch(r"[A-Za-z-]{1,40}", name) else "a header"
                raise PydanticCustomError(
                    HIDDEN,
                    "{named} should name an environment variable in capitals, such as FACES_TOKEN, never hold the "
                    "value",
                    {"named": named},
                )
        return headers


def estimate(queries: int, settings: EndpointSettings) -> str:
    """How long so many queries take at the endpoint's rate, what they cost, and whether the budget allows them."""
    requests = -(-queries // settings.batch_size)
    parts = [f"{queries:,} queries in at least {requests:,} requests"]
    if settings.requests_per_second is None:
        parts.append("no requests_per_second is set, so the endpoint decides how long that takes")
    else:
        seconds = requests / settings.requests_per_second
        parts.append(f"{duration(seconds)} at {settings.requests_per_second:g} requests a second")
    if settings.price is not None:
        parts.append(f"{queries * settings.price:,.2f} at {settings.price:g} a query")
    if settings.budget is not None and queries > settings.budget:
        parts.append(f"more than the budget of {settings.budget:,}")
    return "; ".join(parts)


def duration(seconds: float) -> str:
    """A time in words, rounded up: 40 s, 12 min, 3 h 20 min."""
    whole = -int(-seconds // 1)
    if whole < 120:
        return f"{whole} s"
    minutes = -(-whole // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
