"""One HTTP request to an endpoint, and what became of it."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from inversionlab.core.images import png
from inversionlab.core.settings import ConfigError
from inversionlab.given.endpoint_answers import shown
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.secret_headers import SecretHeaders

if TYPE_CHECKING:
    import httpx

JPEG_QUALITY = 95
LARGEST = 256_000_000
"""Bytes of an unpacked answer at most: 16 pictures with a million scores each."""


@dataclass(frozen=True)
class Failure:
    """An attempt without a good answer."""

    reason: str
    refund: bool = False
    """Whether the service surely did not work on the pictures, so that they do not count as queries."""
    pause: float | None = None
    """Seconds that the service asks to be left alone; None: it does not say."""
    final: bool = False
    """Whether a repetition would end in the same way."""


class EndpointHttp:
    """Sends pictures in one request; thread-safe. Certificates are checked and redirects are not followed."""

    def __init__(self, settings: EndpointSettings, headers: SecretHeaders) -> None:
        """Open a pool of connections; nothing is sent yet.

        Raises:
            ConfigError: httpx is not installed, or the URL is none.
        """
        try:
            import httpx
        except ImportError as error:
            raise ConfigError(
                "victim.endpoint: asking it needs httpx; pip install 'inversionlab[endpoint]'"
            ) from error
        try:
            httpx.URL(settings.url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"victim.endpoint.url = {settings.address}: {error}") from error
        self._settings, self._headers = settings, headers
        self._http = httpx.Client(
            headers={"Accept-Encoding": "gzip, deflate", **headers.values},
            timeout=settings.timeout_seconds,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=settings.concurrency),
        )

    def send(self, pictures: Mapping[str, Tensor]) -> str | Failure:
        """The text of the answer to some pictures, by their digests."""
        import httpx

        limit = self._settings.timeout_seconds
        late = Failure(f"no whole answer came within {limit:g} s (timeout_seconds)")
        # Errors are kept as text: they, and what is known where they occur, may hold the headers.
        try:
            began, body = time.monotonic(), bytearray()
            with self._http.stream("POST", self._settings.url, **self._request(pictures)) as answer:
                if _may_explode(answer.headers.get("content-encoding", "")):
                    return Failure(
                        "it packs its answers otherwise than by gzip, as was asked for", final=True
                    )
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > LARGEST:
                        return _too_large()
                    if time.monotonic() - began > limit:
                        return late
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            # A certificate that is not trusted will not be trusted next time.
            final = "CERTIFICATE" in str(error)
            return Failure(self._safe(f"no connection ({error})"), refund=True, final=final)
        except httpx.TimeoutException:
            return late
        except httpx.HTTPError as error:
            return Failure(self._safe(f"the answer was cut ({error})"))
        return self._judged(answer, body.decode(errors="replace"))

    def _judged(self, answer: httpx.Response, body: str) -> str | Failure:
        """The body of a good answer."""
        status, said = answer.status_code, shown(self._safe(body))
        pause = seconds_to_wait(answer.headers.get("retry-after"))
        if answer.is_success:
            return body
        if status == 429:
            return Failure(f"it answered 429 (too many requests): {said}", True, pause)
        if status >= 500:
            return Failure(f"it answered {status}: {said}", False, pause)
        if answer.is_redirect:
            place = shown(self._safe(answer.headers.get("location", "")))
            said = f"it redirects to {place}, which is not followed; if it is right, set victim.endpoint.url"
        else:
            keys = {401: "headers", 403: "headers", 404: "url", 405: "url", 413: "batch_size"}
            key = keys.get(status, "request")
            said = f"it answered {status} (see victim.endpoint.{key}): {said}"
        return Failure(said, final=True)

    def _request(self, pictures: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments of a request; a service that knows its key works on the same pictures once."""
        settings = self._settings
        content = " ".join([settings.encoding, settings.version, *pictures])
        key = hashlib.sha256(content.encode()).hexdigest()
        files = [encoded(x_CHW, settings.encoding) for x_CHW in pictures.values()]
        request: dict[str, Any] = {"headers": {"Idempotency-Key": key}}
        if settings.request == "multipart":
            kind = f"image/{settings.encoding}"
            request["files"] = [
                (settings.field, (f"{i}.{settings.encoding}", file, kind))
                for i, file in enumerate(files)
            ]
        else:
            texts = [base64.b64encode(file).decode() for file in files]
            request["json"] = {settings.field: texts[0] if settings.batch_size == 1 else texts}
        return request

    def _safe(self, text: str) -> str:
        return self._headers.redacted(text)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _may_explode(packing: str) -> bool:
    """Whether one piece of an answer packed so, 64 kB, may become more than the 64 MB that gzip makes of it."""
    steps = [step.strip().lower() for step in packing.split(",")]
    packers = [step for step in steps if step not in ("", "identity")]
    return len(packers) > 1 or not {"br", "zstd"}.isdisjoint(packers)


def _too_large() -> Failure:
    return Failure(
        f"its answer has more than {LARGEST / 1e6:,.0f} MB and was not read to its end; if it is an answer to the "
        "pictures, lower victim.endpoint.batch_size",
        final=True,
    )


def encoded(x_CHW: Tensor, encoding: str) -> bytes:
    """One uint8 picture (C, H, W), gray or RGB, as a file."""
    if encoding == "png":
        return png(x_CHW)
    array = x_CHW.permute(1, 2, 0).contiguous().numpy()
    sink = io.BytesIO()
    image = Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array)
    image.save(sink, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return sink.getvalue()


def seconds_to_wait(retry_after: str | None) -> float | None:
    """The seconds that a `Retry-After` asks for, as a number or a date; None where it cannot be read."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after[:20])
    try:
        then = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())
