"""How a model behind an HTTP endpoint is asked."""

from typing import Literal

from pydantic import Field

from inversionlab.core.settings import Settings


class EndpointSettings(Settings):
    """An HTTP service that recognizes people on pictures."""

    url: str = Field(pattern=r"^https?://", max_length=4096)
    """Where pictures are sent, by POST. It must hold no secret."""
    request: Literal["json", "multipart"] = "json"
    """json: base64 pictures in a JSON object; multipart: a form with picture files."""
    field: str = Field(default="images", min_length=1, max_length=256)
    """The JSON key (a list of pictures, or one picture where `batch_size` is 1), or the form's field."""
    encoding: Literal["png", "jpeg"] = "png"
    """How pictures are encoded. PNG loses only what 8 bits a channel lose."""
    batch_size: int = Field(default=1, ge=1, le=4096)
    """Pictures in a request."""
    answer: str = Field(default="scores", min_length=1, max_length=1024)
    """A JMESPath expression for the scores or labels in the answer: a list with an entry for each picture, or the
    entry itself where `batch_size` is 1. An entry is a list of scores, a class (its number or name), or, for
    `answers: top_k`, a list of {label, score} objects."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Request headers as NAME: VARIABLE; the value is read from this environment variable, such as
    {Authorization: FACES_TOKEN}."""
    budget: int | None = Field(default=None, ge=1)
    """The most queries (pictures sent) of all runs on this storage; null: no bound. It is never exceeded."""
    requests_per_second: float | None = Field(default=None, gt=0, le=1e6)
    """The most requests a second, by all workers together; null: no bound."""
    concurrency: int = Field(default=4, ge=1, le=1024)
    """The most requests in flight."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Time after which a request counts as failed."""
    retries: int = Field(default=5, ge=0, le=100)
    """How often a request is repeated, with growing pauses, after 429, 5xx, a time-out or a broken answer."""
    price: float | None = Field(default=None, ge=0)
    """What a query costs, in any currency, for `--plan`; null: it says nothing of cost."""
