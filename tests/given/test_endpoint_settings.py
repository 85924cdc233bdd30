from __future__ import annotations

import traceback
from typing import Any

import pytest

from inversionlab.core.settings import ConfigError, validate
from inversionlab.given.endpoint_settings import EndpointSettings, duration, estimate
from inversionlab.given.endpoint_url import shown_url
from inversionlab.given.secret_headers import SecretHeaders
from inversionlab.given.settings import GivenModelSettings

URL = "https://host/identify"


def refusal(**endpoint: Any) -> str:
    """Why a recipe with this endpoint is refused, with all that a traceback would show."""
    data = {"endpoint": {"url": URL, **endpoint}}
    with pytest.raises(ConfigError) as caught:
        validate(GivenModelSettings, data, origin="recipe.yaml")
    shown = "".join(traceback.format_exception(caught.value))
    assert str(caught.value) in shown
    return shown


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://user:hunter2@host/x", "holds a user or password; send it as a header"),
        ("https://hunter2@host/x", "holds a user or password"),
        ("https://user:9/hunter2@host/x", "holds a user or password"),
        ("https://host/x#token=hunter2", "holds a fragment (#...), which is never sent"),
        ("https://host/x;token=hunter2", "holds a parameter (;...) in its path"),
        ("https://host/x?key=hunter2", "the parameter `key` looks like a secret"),
        ("https://host/x?key=1234", "the parameter `key` looks like a secret"),
        ("https://host/x?pass=hunter2", "the parameter `pass` looks like a secret"),
        ("https://host/x?access=hunter2", "the parameter `access` looks like a secret"),
        ("https://host/x?bearer=hunter2", "the parameter `bearer` looks like a secret"),
        ("https://host/x?jwt=hunter2", "the parameter `jwt` looks like a secret"),
        ("https://host/x?q=hunter2", "the parameter `q` may hold a secret; send it as a header"),
        ("https://host/x?hunter2", "a parameter may hold a secret"),
        ("https://host/x?size=1;hunter2=2", "the parameter `size` may hold a secret"),
        ("https:/user:hunter2@host/x", "should be a URL such as https://host/identify"),
        ("HTTPS://user:hunter2@host/x", "should be a URL such as"),
        (" https://user:hunter2@host/x", "should be a URL such as"),
        ("user:hunter2@host/x", "should be a URL such as"),
        ("https://user:hunter2@[::1", "should be a URL such as"),
        ("https://host/x?a=1&access_token=hunter2", "`access_token` looks like a secret"),
        ("https://host/x?ApiKey=hunter2", "`ApiKey` looks like a secret"),
        ("https://host/x?api%5Fkey=hunter2", "`api_key` looks like a secret"),
        ("https://host/x?X-Amz-Signature=hunter2", "looks like a secret"),
        ("https:///hunter2", "should be a URL such as https://host/identify"),
        ("https://[hunter2/x", "should be a URL such as"),
        ("https://host:99999999/hunter2", "should be a URL such as"),
    ],
)
def test_a_url_with_a_secret_is_refused_without_showing_it(url: str, text: str) -> None:
    shown = refusal(url=url)
    assert f"recipe.yaml: endpoint.url: {text}" in shown or text in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "http://host/x?model=7&size=112",
        "https://host:8443/a?design=b",
        "https://host/x?returnFaceId=true&detectionModel=detection_03&api-version=2024-02-01",
    ],
)
def test_plain_parameters_are_taken_and_not_shown(url: str) -> None:
    settings = EndpointSettings(url=url)
    assert settings.url == url
    assert settings.address == url.partition("?")[0]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:hunter2@host:8/x?key=hunter2#hunter2", "https://host:8/x"),
        ("https://u:9/hunter2@host", "https://u:9"),
        ("https://host/x;token=hunter2", "https://host/x"),
        ("https:/u:hunter2@host", "an endpoint"),
        ("https://u:hunter2@[::1", "an endpoint"),
    ],
)
def test_a_url_is_shown_without_what_may_be_a_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("victim", "told"),
    [
        ({"endpoint": "https://u:hunter2@host"}, "endpoint: should be an object"),
        ({"endpoint": {"url": ["https://u:hunter2@host"]}}, "endpoint.url: should be a valid"),
        ({"endpoint": {"url": URL, "token": "hunter2"}}, "endpoint.token: unknown key; "),
        ({"endpoint": {"url": URL, "budget": "hunter2"}}, "endpoint.budget: should be a valid"),
        ({"endpoint": {"url": URL, "headers": "hunter2"}}, "endpoint.headers: should be an object"),
        ({"endpoint": {"url": URL, "headers": [{"A": "hunter2"}]}}, "endpoint.headers: should be"),
        ({"endpoint": {"url": URL, "headers": {"A": ["hunter2"]}}}, "endpoint.headers.A: should"),
        ({"endpont": {"url": URL, "headers": {"A": "hunter2"}}}, "endpont: unknown key; did you"),
        ({"model": "a:B", "url": "https://u:hunter2@host"}, 'url = "***": unknown key'),
        ({"model": "a:B", "api_key": "hunter2"}, "api_key: unknown key"),
        ({"model": "s3://K:hunter2@b/x.onnx"}, "model: s3://***@b/x.onnx: is a URI; only a path"),
        ({"model": "a:B", "weights": "s3://K:hunter2@b/x"}, "weights: s3://***@b/x: is a URI"),
        ({"model": "a:B", "weights": "s3:/K:hunter2@b/x"}, "weights: s3://***@b/x: is a URI"),
        ({"model": "a:B", "gallery": "s3://K:hunter2@b/x"}, "gallery: s3://***@b/x: is a URI"),
    ],
)
def test_no_error_about_a_victim_shows_what_may_be_a_secret(
    victim: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(GivenModelSettings, victim, origin="recipe.yaml")
    shown = "".join(traceback.format_exception(caught.value))
    assert f"recipe.yaml: {told}" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (
            {"Authorization": "Bearer hunter2"},
            "`Authorization` should name an environment variable",
        ),
        ({"X-Key": "hunter2!"}, "never hold the value"),
        ({"Content-Type": "KIND"}, "`Content-Type` is set by the client itself"),
        ({"idempotency-key": "KIND"}, "is set by the client itself"),
        ({"Bearer hunter2": "KIND"}, "one of the names is not the name of a header"),
        ({"Authorization": "hunter2"}, "should name an environment variable in capitals"),
        ({"hunter2": "Authorization"}, "a header should name an environment variable"),
    ],
)
def test_headers_name_variables(headers: dict[str, str], text: str) -> None:
    shown = refusal(headers=headers)
    assert text in shown
    assert "hunter2" not in shown


def test_header_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = EndpointSettings(url=URL, headers={"X-Key": "FACES_KEY"})
    monkeypatch.delenv("FACES_KEY", raising=False)
    with pytest.raises(ConfigError) as caught:
        SecretHeaders.read(settings)
    assert "endpoint.headers.X-Key: the environment variable FACES_KEY is not set" in str(
        caught.value
    )
    for wrong in ("hunter2\n", " hunter2", "hunter\u00fc2", "hunt\ner2"):
        monkeypatch.setenv("FACES_KEY", wrong)
        with pytest.raises(
            ConfigError, match="of the environment variable FACES_KEY cannot be"
        ) as caught:
            SecretHeaders.read(settings)
        assert "hunt" not in str(caught.value)
    monkeypatch.setenv("FACES_KEY", "hunter2")
    headers = SecretHeaders.read(settings)
    assert headers.values == {"X-Key": "hunter2"}
    assert "hunter2" not in repr(headers) + str(headers) + settings.model_dump_json()


def test_secrets_are_hidden_whole_in_parts_and_quoted() -> None:
    headers = SecretHeaders({"Authorization": 'Bearer hun"ter2', "X-Key": "abc"})
    assert headers.redacted('you sent Bearer hun"ter2.') == "you sent [hidden]."
    assert headers.redacted('the token hun"ter2 is old') == "the token [hidden] is old"
    assert (
        headers.redacted(r'{"token": "hun\"ter2", "x": "abc"}')
        == '{"token": "[hidden]", "x": "[hidden]"}'
    )
    assert SecretHeaders({}).redacted("as it is") == "as it is"


def test_what_queries_take_and_cost() -> None:
    settings = EndpointSettings(
        url=URL, batch_size=8, requests_per_second=10, price=0.0015, budget=50_000
    )
    assert estimate(50_000, settings) == (
        "50,000 queries in at least 6,250 requests; 11 min at 10 requests a second; "
        "75.00 at 0.0015 a query"
    )
    assert estimate(50_001, settings).endswith("; more than the budget of 50,000")
    assert estimate(3, EndpointSettings(url=URL)) == (
        "3 queries in at least 3 requests; no requests_per_second is set, so the endpoint decides how "
        "long that takes"
    )


def test_times_in_words() -> None:
    said = [duration(s) for s in (0, 0.2, 119, 119.5, 121, 7200, 12_001)]
    assert said == ["0 s", "1 s", "119 s", "2 min", "3 min", "2 h 0 min", "3 h 21 min"]
