"""A recognizer behind HTTP, in a process of its own, that can misbehave as services do.

    python face_server.py --log FILE [--classes K] [--network SCRIPT.pt] [--faults 429,500,cut] [--rate R] ...

It prints its port, then serves POST to any path but /count. Every picture that it works on is a line in the log
file: the picture's SHA-256 and what became of the request. `GET /count` says what it did so far.
"""

from __future__ import annotations

import argparse
import base64
import email.parser
import email.policy
import hashlib
import io
import json
import os
import threading
import time
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--network", help="TorchScript: pictures (N, C, H, W) in [0, 1] to logits")
    parser.add_argument(
        "--answers", default="scores", help="scores, logits, labels, names or top_k"
    )
    parser.add_argument("--names", help="the classes by name, with commas; else person 0, ...")
    parser.add_argument("--field", default="images")
    parser.add_argument("--token", help="the Authorization header that it wants, else 401")
    parser.add_argument("--echo", action="store_true", help="a 401 repeats the header")
    parser.add_argument("--faults", default="", help="what the first requests get, see `fault`")
    parser.add_argument(
        "--again", action="store_true", help="start over when the faults are used up"
    )
    parser.add_argument("--raw", help="the body of every answer, instead of scores")
    parser.add_argument("--retry-after", help="the header of every 429 and 503")
    parser.add_argument(
        "--rate", type=float, help="requests in any second; more are refused with 429"
    )
    parser.add_argument("--sleep", type=float, default=5.0, help="seconds of the fault `sleep`")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that every answer takes")
    return parser.parse_args()


OPTIONS = parse()
LOCK = threading.Lock()
LOG = os.open(OPTIONS.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
FAULTS = deque(f for f in OPTIONS.faults.split(",") if f)
ARRIVED: deque[float] = deque()
MOMENTS: list[float] = []
DIGESTS: Counter[str] = Counter()
TOTALS: Counter[str] = Counter()
KEYS: Counter[str] = Counter()


def network() -> Any:
    """Pictures (N, C, H, W) in [0, 1] to logits (N, K): the given one, or a fixed linear one."""
    if OPTIONS.network:
        import torch

        torch.set_num_threads(1)
        # In double precision, so that an answer in float32 does not depend on the rest of its request.
        module = torch.jit.load(OPTIONS.network).double().eval()

        def of_module(x: np.ndarray) -> np.ndarray:
            with LOCK, torch.no_grad():
                return module(torch.from_numpy(x).double()).numpy()

        return of_module

    def linear(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1).astype(np.float64)
        weights = np.random.default_rng(0).normal(size=(flat.shape[1], OPTIONS.classes))
        return (flat - 0.5) @ weights / np.sqrt(flat.shape[1])

    return linear


NETWORK = network()


def name_of(k: int) -> str:
    return str(OPTIONS.names.split(",")[k]) if OPTIONS.names else f"person {k}"


def entries(files: list[bytes]) -> list[Any]:
    pictures = [np.asarray(Image.open(io.BytesIO(f)), dtype=np.float32) / 255 for f in files]
    x = np.stack([p[None] if p.ndim == 2 else p.transpose(2, 0, 1) for p in pictures])
    logits = NETWORK(x)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    scores = odds / odds.sum(1, keepdims=True)
    if OPTIONS.answers == "logits":
        return logits.tolist()
    if OPTIONS.answers == "labels":
        return scores.argmax(1).tolist()
    if OPTIONS.answers == "names":
        return [name_of(k) for k in scores.argmax(1)]
    if OPTIONS.answers == "top_k":
        order = (-scores).argsort(1)[:, :2]
        return [
            [{"label": name_of(k), "score": float(s[k])} for k in o]
            for s, o in zip(scores, order, strict=True)
        ]
    return scores.tolist()


def fault() -> str:
    """What the next request gets: ok, 429, 500, 503, 400, cut, html, sleep or redirect."""
    if not FAULTS:
        return "ok"
    first = FAULTS.popleft()
    if OPTIONS.again:
        FAULTS.append(first)
    return first


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        with LOCK:
            most = max((sum(m <= n < m + 1 for n in MOMENTS) for m in MOMENTS), default=0)
            count = {
                **{name: TOTALS[name] for name in ("requests", "processed", "refused")},
                "digests": dict(DIGESTS),
                "keys": dict(KEYS),
                "most_in_a_second": most,
                "moments": MOMENTS,
                "stall": STALL[0],
            }
        self.reply(200, json.dumps(count).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        now = time.monotonic()
        with LOCK:
            TOTALS["requests"] += 1
            MOMENTS.append(now)
            what = fault()
            while ARRIVED and ARRIVED[0] <= now - 1:
                ARRIVED.popleft()
            if OPTIONS.rate and len(ARRIVED) >= OPTIONS.rate:
                what = "429"
            if what == "429":
                TOTALS["refused"] += 1
            else:
                ARRIVED.append(now)
                KEYS[self.headers["Idempotency-Key"]] += 1
        if what == "429":
            return self.refuse(429)
        files = self.files(body)
        if OPTIONS.token and self.headers["Authorization"] != OPTIONS.token:
            what = "401"
        with LOCK:
            TOTALS["processed"] += len(files)
            DIGESTS.update(hashlib.sha256(f).hexdigest() for f in files)
            lines = [f"{hashlib.sha256(f).hexdigest()} {what}\n" for f in files]
            os.write(LOG, "".join(lines).encode())
        return self.answer(what, files)

    def answer(self, what: str, files: list[bytes]) -> None:
        time.sleep(OPTIONS.sleep if what == "sleep" else OPTIONS.delay)
        if what == "401":
            said = self.headers["Authorization"] if OPTIONS.echo else "who are you?"
            return self.reply(401, f"not allowed: {said}".encode())
        if what == "redirect":
            return self.reply(307, b"", {"Location": "http://elsewhere.example/identify"})
        if what.isdecimal():
            return self.refuse(int(what))
        text = OPTIONS.raw or json.dumps({"scores": entries(files)})
        good = b"<html>maintenance</html>" if what == "html" else text.encode()
        return self.reply(200, good, cut=what == "cut")

    def refuse(self, status: int) -> None:
        more = {"Retry-After": OPTIONS.retry_after} if OPTIONS.retry_after else {}
        self.reply(status, f"no, {status}".encode(), more)

    def reply(
        self, status: int, body: bytes, more: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        try:
            self.send_response(status)
            for name, value in {**(more or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
        except (BrokenPipeError, ConnectionResetError):
            cut = True
        if cut:
            self.close_connection = True

    def files(self, body: bytes) -> list[bytes]:
        kind = self.headers["Content-Type"]
        if kind.startswith("multipart/"):
            head = f"Content-Type: {kind}\r\n\r\n".encode()
            form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
            parts = list(form.iter_parts())
            assert all(
                p.get_param("name", header="content-disposition") == OPTIONS.field for p in parts
            )
            return [p.get_payload(decode=True) for p in parts]
        texts = json.loads(body)[OPTIONS.field]
        return [base64.b64decode(t) for t in ([texts] if isinstance(texts, str) else texts)]


STALL = [0.0]
"""The longest time in seconds for which this machine has let a thread of this process wait."""


def watch() -> None:
    while True:
        began = time.monotonic()
        time.sleep(0.01)
        STALL[0] = max(STALL[0], time.monotonic() - began - 0.01)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    server = Server(("127.0.0.1", OPTIONS.port), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=watch, daemon=True).start()
    server.serve_forever()
