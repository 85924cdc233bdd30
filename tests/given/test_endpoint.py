from __future__ import annotations

import gzip
import shlex
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inversionlab.core.settings import ConfigError
from inversionlab.given import endpoint, endpoint_http
from inversionlab.given.endpoint import BudgetError, EndpointClient, EndpointError
from inversionlab.given.endpoint_http import Failure, seconds_to_wait
from inversionlab.given.endpoint_settings import EndpointSettings
from tests.given import asker
from tests.given.asker import pictures
from tests.given.serving import FaceServer, face_server
from tests.processes import HANG, free_ports, patience, wait_until

NAMES = tuple(f"person {k}" for k in range(5))
OPENSSL = (
    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem"
)
SECRET = "Bearer s3cr3t-t0ken"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.01)


def settings(server: FaceServer | str, **keys: Any) -> EndpointSettings:
    url = server if isinstance(server, str) else server.url
    return EndpointSettings.model_validate({"url": url, **keys})


def client(server: FaceServer | str, folder: Path, **keys: Any) -> EndpointClient:
    return EndpointClient(settings(server, **keys), None, folder / "ledger")


def scores(images_NCHW: Tensor) -> Tensor:
    """What the server's linear model says."""
    flat = images_NCHW.flatten(1).double().numpy() / 255
    weights = np.random.default_rng(0).normal(size=(flat.shape[1], len(NAMES)))
    logits = (flat - 0.5) @ weights / np.sqrt(flat.shape[1])
    return torch.from_numpy(logits).softmax(1).float()


def complaint(server: FaceServer | str, folder: Path, **keys: Any) -> str:
    """What the client says when it is asked about three pictures; it must not get an answer."""
    with (
        client(server, folder, **{"retries": 1, **keys}) as asked,
        pytest.raises((EndpointError, ConfigError)) as caught,
    ):
        asked.ask(pictures(3))
    return str(caught.value)


@pytest.mark.parametrize("faults", ["", "429,500,503,cut,html,ok,429,cut,500"])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_picture_gets_its_answer_and_the_server_counts_what_the_ledger_counts(
    faults: str, batch: int, tmp_path: Path
) -> None:
    with (
        face_server(tmp_path, f"--faults={faults}") as server,
        client(server, tmp_path, batch_size=batch, retries=20) as asked,
    ):
        images = pictures(31)
        torch.testing.assert_close(asked.ask(images), scores(images))
        count = server.count()
        assert asked.spent == count["processed"]
        assert count["refused"] == faults.count("429")
        assert len(count["digests"]) == 31
        # A repeated request has the key of the first, so a service may know it.
        repeated = sum(faults.count(f) for f in ("500", "503", "cut", "html"))
        assert sum(n > 1 for n in count["keys"].values()) <= repeated
        assert len(count["keys"]) == -(-31 // batch)
        assert sum(count["keys"].values()) == -(-31 // batch) + repeated


def test_a_time_out_counts_again(tmp_path: Path) -> None:
    with (
        face_server(tmp_path, "--faults=sleep", f"--sleep={HANG}") as server,
        client(server, tmp_path, timeout_seconds=3, batch_size=4) as asked,
    ):
        assert asked.ask(pictures(4)).shape == (4, 5)
        assert asked.spent == server.count()["processed"] == 8


def test_what_was_answered_is_never_asked_again(tmp_path: Path) -> None:
    images = pictures(12)
    with face_server(tmp_path) as server:
        with client(server, tmp_path) as asked:
            first = asked.ask(torch.cat([images, images[:5]]))
            assert torch.equal(first[:5], first[12:])
            assert server.count()["requests"] == 12
            assert torch.equal(asked.ask(images.flip(0)), first[:12].flip(0))
        with client(server, tmp_path, budget=12) as asked:
            assert torch.equal(asked.ask(images), first[:12])
            assert asked.kind == "scores"
            assert asked.ask(images[:0]).shape == (0, 5)
            assert (asked.spent, asked.budget_left) == (12, 0)
        # Another version of the model answers anew, on the same account.
        with client(server, tmp_path, version="2") as asked:
            asked.ask(images[:3])
            assert asked.spent == server.count()["requests"] == 15


def test_threads_that_ask_for_the_same_picture_share_a_request(tmp_path: Path) -> None:
    images = pictures(20)
    with (
        face_server(tmp_path, "--delay=0.05") as server,
        client(server, tmp_path) as asked,
        ThreadPoolExecutor(4) as threads,
    ):
        parts = [images, images[:10], images[5:], images.flip(0)]
        answers = list(threads.map(asked.ask, parts))
        torch.testing.assert_close(answers[3], scores(images.flip(0)))
        assert server.count()["processed"] == asked.spent == 20


@contextmanager
def longest_stall() -> Iterator[list[float]]:
    """The longest time in seconds for which this machine has let a thread of ours wait, in a list of one."""
    found, over = [0.0], threading.Event()

    def tick() -> None:
        while not over.is_set():
            began = time.monotonic()
            over.wait(0.01)
            found[0] = max(found[0], time.monotonic() - began - 0.01)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def test_the_rate_holds_for_all_clients_together(tmp_path: Path) -> None:
    with (
        face_server(tmp_path) as server,
        client(server, tmp_path, requests_per_second=20, concurrency=8) as first,
        client(server, tmp_path, requests_per_second=20, concurrency=8) as second,
        ThreadPoolExecutor(2) as threads,
    ):
        began = time.monotonic()
        with longest_stall() as stall:
            done = [
                threads.submit(first.ask, pictures(18)),
                threads.submit(second.ask, pictures(18, 1)),
            ]
            assert all(d.result().shape == (18, 5) for d in done)
        seconds = time.monotonic() - began
        count = server.count()
        assert seconds >= 35 / 20
        # 20 a second and one at either end; an arrival may be a little late or early, and requests that a busy
        # machine has held up arrive together.
        assert count["most_in_a_second"] <= 23 + 20 * (stall[0] + count["stall"])
        assert first.spent == second.spent == count["processed"] == 36


def test_a_server_that_limits_the_rate_is_heeded(tmp_path: Path) -> None:
    with (
        face_server(tmp_path, "--rate=12", "--retry-after=1") as server,
        client(server, tmp_path) as asked,
    ):
        assert asked.ask(pictures(30)).shape == (30, 5)
        count = server.count()
        # On a machine that is too busy for twelve requests a second there is nothing to limit.
        assert count["refused"] > 0 or count["most_in_a_second"] <= 12
        assert asked.spent == count["processed"] == 30


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    with face_server(tmp_path, "--faults=429", "--retry-after=1") as server:
        with client(server, tmp_path, concurrency=1) as asked:
            asked.ask(pictures(2))
        first, second, _ = server.count()["moments"]
        assert second - first >= 1
    with face_server(tmp_path, "--faults=429", "--retry-after=100000", log="b") as server:
        text = complaint(server, tmp_path, concurrency=1)
        assert "asks to wait for 100,000 s" in text
        assert server.count()["requests"] == 1


def test_retry_after_may_be_a_date() -> None:
    assert seconds_to_wait("7") == 7
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert 9e8 < (seconds_to_wait("Wed, 21 Oct 2065 07:28:00 GMT") or 0) < 2e9
    assert seconds_to_wait(None) is seconds_to_wait("soon") is None


def test_the_budget_is_spent_to_the_last_query_and_no_further(tmp_path: Path) -> None:
    with (
        face_server(tmp_path) as server,
        client(server, tmp_path, budget=25, batch_size=4) as asked,
    ):
        with pytest.raises(BudgetError, match="the budget of 25 queries is spent") as caught:
            asked.ask(pictures(40))
        assert "(victim.endpoint.budget)" in str(caught.value)
        assert server.count()["processed"] == asked.spent == 25
        assert asked.budget_left == 0
        assert len(server.count()["digests"]) == 25
    # What fitted is kept: the rest is 15.
    with face_server(tmp_path, log="b") as again:
        with client(again, tmp_path, budget=40, batch_size=4) as asked:
            assert asked.ask(pictures(40)).shape == (40, 5)
        assert again.count()["processed"] == 15


def test_repeated_requests_do_not_exceed_the_budget(tmp_path: Path) -> None:
    with (
        face_server(tmp_path, "--faults=500,ok,cut,429", "--again") as server,
        client(server, tmp_path, budget=20, retries=50) as asked,
    ):
        with pytest.raises(BudgetError):
            asked.ask(pictures(30))
        assert server.count()["processed"] == asked.spent == 20


def process(server: FaceServer, folder: Path, count: int, seed: int, **keys: Any) -> Any:
    """A process that asks about so many pictures."""
    command = [sys.executable, asker.__file__, settings(server, **keys).model_dump_json()]
    command += [str(folder / "ledger"), str(count), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def _package_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Path(__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{checkout / 'platform'}:{checkout}")


def test_two_clients_share_budget_and_answers(tmp_path: Path) -> None:
    with (
        face_server(tmp_path, "--delay=0.02") as server,
        client(server, tmp_path, budget=30) as first,
        client(server, tmp_path, budget=30) as second,
        ThreadPoolExecutor(3) as threads,
    ):
        same = [threads.submit(c.ask, pictures(20)) for c in (first, second)]
        torch.testing.assert_close(same[0].result(), same[1].result())
        assert first.spent == second.spent == server.count()["processed"] == 20
        more = [threads.submit(c.ask, pictures(8, n)) for n, c in enumerate((first, second), 1)]
        assert any(isinstance(m.exception(), BudgetError) for m in more)
        assert first.spent == second.spent == server.count()["processed"] == 30


@pytest.mark.slow
@pytest.mark.usefixtures("_package_on_the_path")
def test_two_processes_share_budget_and_answers(tmp_path: Path) -> None:
    with face_server(tmp_path, "--delay=0.01") as server:
        asking = [process(server, tmp_path, 60, 0, budget=90) for _ in range(2)]
        asking += [process(server, tmp_path, 60, 1, budget=90)]
        said = [p.communicate(timeout=HANG)[0] for p in asking]
        assert all("spent " in text for text in said), said
        assert 1 <= sum("budget\n" in text for text in said) <= 3
        count = server.count()
        assert count["processed"] == 90
        assert set(count["digests"].values()) == {1}


@pytest.mark.slow
@pytest.mark.usefixtures("_package_on_the_path")
def test_after_a_kill_only_what_was_in_flight_is_asked_again(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"budget": 400, "concurrency": 3, "batch_size": 2}
    with face_server(tmp_path, "--delay=0.03") as server:
        for done in (30, 90):
            killed = process(server, tmp_path, 160, 0, **keys)
            wait_until(lambda n=done: server.count()["processed"] >= n, HANG, "some were processed")
            killed.kill()
            killed.wait()
        began = time.monotonic()
        last = process(server, tmp_path, 160, 0, **keys)
        said = last.communicate(timeout=HANG)[0]
        assert last.returncode == 0, said
        # Nobody waited for the dead.
        assert time.monotonic() - began < patience(60)
        seen = Counter(line.split()[0] for line in server.log.read_text().splitlines())
        assert len(seen) == 160
        assert sum(n - 1 for n in seen.values()) <= 2 * 3 * 2
        with client(server, tmp_path, **keys) as asked:
            assert server.count()["processed"] <= asked.spent <= 160 + 2 * 3 * 2


def test_secrets_are_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FACES_TOKEN", SECRET)
    keys = {"headers": {"Authorization": "FACES_TOKEN"}, "batch_size": 2}
    caplog.set_level(0)
    shown = []
    with face_server(tmp_path, f"--token={SECRET}", "--faults=500,cut,429,redirect") as server:
        shown.append(complaint(server, tmp_path / "1", retries=5, concurrency=1, **keys))
        assert "redirects to http://elsewhere.example/identify, which is not followed" in shown[0]
    with face_server(tmp_path, "--token=another", "--echo", log="b") as server:
        shown.append(complaint(server, tmp_path / "2", **keys))
        assert "answered 401 (see victim.endpoint.headers): not allowed: [hidden]" in shown[1]
    raw = '--raw={"you": "Bearer s3cr3t-t0ken", "scores": [0.1]}'
    with face_server(tmp_path, raw, log="c") as server:
        shown.append(complaint(server, tmp_path / "3", **keys))
        assert "what came is not shown, because it repeats a header" in shown[2]
        shown.append(settings(server, **keys).model_dump_json())
        with client(server, tmp_path, **keys) as asked:
            shown += [repr(asked), repr(vars(asked)), repr(asked._headers), asked.status()]
    assert "httpcore.http11" in {record.name for record in caplog.records}
    shown += [record.getMessage() for record in caplog.records]
    assert "s3cr3t" not in "\n".join(shown)
    files = [f for f in tmp_path.rglob("*") if f.is_file()]
    assert len(files) > 4
    assert not [f for f in files if b"s3cr3t" in f.read_bytes()]


@pytest.mark.parametrize(
    ("flags", "keys", "text"),
    [
        (["--faults=500,503,500", "--again"], {}, "answered 50"),
        (["--faults=500,503,500", "--again"], {}, "after 2 attempts"),
        (["--faults=html", "--again"], {}, "not JSON, or was cut: <html>maintenance</html>"),
        (["--faults=cut", "--again"], {}, "the answer was cut ("),
        (["--faults=400"], {}, "answered 400 (see victim.endpoint.request): no, 400"),
        (["--faults=404"], {}, "answered 404 (see victim.endpoint.url): no, 404"),
        (
            [],
            {"answer": "nothing"},
            'victim.endpoint.answer = nothing: finds nothing in the answer; received: {"sc',
        ),
        (['--raw={"scores": [0.5, NaN]}'], {}, "not finite numbers: [0.5, NaN]"),
        (['--raw={"scores": [[1, 2]]}'], {"batch_size": 3}, "3 pictures were sent"),
        (
            ["--faults=sleep", "--again", "--sleep=1"],
            {"timeout_seconds": 0.1},
            "within 0.1 s (timeout",
        ),
    ],
)
def test_an_error_says_what_came(
    flags: list[str], keys: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with face_server(tmp_path, *flags) as server:
        said = complaint(server, tmp_path, **keys)
        assert text in said
        assert len(said) < 700
        assert server.count()["processed"] > 0


def test_a_service_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/x"
    assert "no connection" in complaint(url, tmp_path)
    with client(url, tmp_path) as asked:
        assert asked.spent == 0


def test_a_certificate_that_is_not_trusted_ends_it_at_once(tmp_path: Path) -> None:
    made = subprocess.run(
        shlex.split(OPENSSL),
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{server.server_address[1]}/x"
    said = complaint(url, tmp_path, retries=100)
    server.shutdown()
    assert "CERTIFICATE_VERIFY_FAILED" in said
    with client(url, tmp_path) as asked:
        assert asked.spent == 0


@contextmanager
def answering(body: bytes, packing: str) -> Iterator[str]:
    """The URL of a server that answers every request with a body that is packed so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Encoding", packing)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *words: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/x"
    finally:
        server.shutdown()
        server.server_close()


def test_an_answer_is_read_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_http, "LARGEST", 1_000_000)
    found = b'{"scores": [0.25, 0.75]}'
    with (
        answering(gzip.compress(b" " * 900_000 + found), "gzip") as url,
        client(url, tmp_path) as asked,
    ):
        assert asked.ask(pictures(1)).tolist() == [[0.25, 0.75]]
    with answering(gzip.compress(b" " * 1_000_000 + found), "gzip") as url:
        said = complaint(url, tmp_path)
    assert "its answer has more than 1 MB and was not read to its end" in said
    assert "lower victim.endpoint.batch_size" in said


@pytest.mark.parametrize("packing", ["gzip, gzip", "br", "zstd"])
def test_an_answer_that_was_packed_otherwise_is_not_read(packing: str, tmp_path: Path) -> None:
    with answering(b"", packing) as url:
        assert "it packs its answers otherwise than by gzip" in complaint(url, tmp_path)


def test_an_answer_of_any_depth_is_told_of(tmp_path: Path) -> None:
    """Reading, searching and showing it reach the depth of the stack at different depths of the answer."""
    with client("http://host/x", tmp_path) as asked:
        for depth in range(900, 1010):
            with suppress(ConfigError):
                found = asked._read(["a"], '{"scores": ' + "[" * depth + "]" * depth + "}")
                assert isinstance(found, Failure)


@pytest.mark.parametrize("request_form", ["json", "multipart"])
@pytest.mark.parametrize("answers", ["top_k", "names", "labels"])
def test_forms_of_requests_and_answers(request_form: str, answers: str, tmp_path: Path) -> None:
    images = pictures(4, channels=3)
    flags = [f"--answers={answers}", "--field=faces"]
    with face_server(tmp_path, *flags) as server:
        chosen = settings(server, request=request_form, field="faces", batch_size=3)
        with EndpointClient(chosen, NAMES, tmp_path / "ledger") as asked:
            y_NK = asked.ask(images)
            assert asked.kind == ("top_k" if answers == "top_k" else "labels")
    assert y_NK.dtype == torch.float32
    # The server's pictures are NHWC after decoding, and NCHW again for its model.
    expected = scores(images)
    if answers == "top_k":
        value, index = expected.topk(2)
        expected = torch.zeros_like(expected).scatter(1, index, value)
    else:
        expected = torch.nn.functional.one_hot(expected.argmax(1), 5).float()
    torch.testing.assert_close(y_NK, expected)


def test_jpeg_is_close_to_png(tmp_path: Path) -> None:
    smooth = torch.linspace(0, 255, 32).byte().expand(2, 3, 32, 32).clone()
    with face_server(tmp_path, "--answers=logits") as server:
        with client(server, tmp_path) as asked:
            exact = asked.ask(smooth)
        with client(server, tmp_path, encoding="jpeg") as asked:
            near = asked.ask(smooth)
    assert not torch.equal(near, exact)
    torch.testing.assert_close(near, exact, atol=0.05, rtol=0)


def test_closing_ends_what_waits(tmp_path: Path) -> None:
    with face_server(tmp_path, "--delay=0.1") as server, ThreadPoolExecutor(1) as thread:
        asked = client(server, tmp_path, concurrency=2)
        waiting = thread.submit(asked.ask, pictures(5000))
        wait_until(lambda: server.count()["processed"] > 2, HANG, "some were asked")
        asked.close()
        asked.close()
        with pytest.raises(EndpointError, match="the client was closed"):
            waiting.result(timeout=HANG)
        with client(server, tmp_path) as again:
            assert again.spent == server.count()["processed"] < 5000


def test_progress_is_a_line(tmp_path: Path) -> None:
    with face_server(tmp_path) as server:
        with client(server, tmp_path, budget=50_000) as asked:
            assert asked.status() == "queries: 0 of 50,000, 0.0 a second"
            asked.ask(pictures(10))
            assert asked.status().startswith("queries: 10 of 50,000, ")
            assert not asked.status().endswith(" 0.0 a second")
        with client(server, tmp_path) as asked:
            assert asked.status() == "queries: 10, 0.0 a second"


def test_pictures_are_bytes(tmp_path: Path) -> None:
    with client("http://host/x", tmp_path) as asked, pytest.raises(TypeError, match="uint8"):
        asked.ask(torch.zeros(1, 1, 8, 8))


def test_an_expression_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"endpoint.answer = scores\[: is not a JMESPath expression"
    ):
        client("http://host/x", tmp_path, answer="scores[")
