"""The URL of an endpoint: it holds no secret, and texts show it without what one might stand in.

It is written into recipes, logs and records. So a user, a password, a fragment and path parameters are refused. A
query may hold values that are too plain for a secret. A longer word is taken only where the parameter's name says
what it is.
"""

import re
from urllib.parse import parse_qsl, urlsplit

LONGEST = 4096
"""Characters of a URL."""
_SECRET = re.compile(
    r"key$|token|secret|pass|pwd|^pw$|^pin$|^auth|^sig$|^sas$|^jwt$|bearer|signature|credential|session|access|^code$",
    re.IGNORECASE,
)
"""What in the name of a parameter says that its value is a secret, however plain."""
_PLAIN = re.compile(r"[\w.-]{0,4}|true|false|v?[0-9]{1,4}([.-][0-9]{1,4}){1,3}", re.IGNORECASE)
"""A value that is no secret: a few characters, a truth value, a version or a date."""
_TELLING = re.compile(
    r"model|version|format|encoding|lang|locale|region|size|mode|type|detect|recogni|threshold|tenant",
    re.IGNORECASE,
)
"""What in the name of a parameter says that its value, a word, is none."""
_WORD = re.compile(r"[\w.,:-]{1,32}")
_SHOWABLE = re.compile(r"[A-Za-z_.-]{1,32}")
AS_A_HEADER = "send it as a header from an environment variable"


def fault_of_url(url: str) -> str:
    """What is wrong with an endpoint's URL; empty if nothing is. No part of it that may be a secret is shown."""
    if len(url) > LONGEST:
        return f"is longer than {LONGEST:,} characters"
    if not (re.match(r"https?://", url) and url.isprintable() and _host(url)):
        return "should be a URL such as https://host/identify"
    if "@" in url:
        return f"holds a user or password; {AS_A_HEADER} (an @ of the path itself is written %40)"
    if "#" in url:
        return "holds a fragment (#...), which is never sent; leave it out"
    parts = urlsplit(url)
    if ";" in parts.path:
        return f"holds a parameter (;...) in its path, which may be a secret; {AS_A_HEADER}"
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if fault := _fault_of_parameter(name, value):
            return fault
    return ""


def shown_url(url: str) -> str:
    """The scheme, host and path of a URL, for texts and records."""
    if not _host(url):
        return "an endpoint"
    parts = urlsplit(url)
    # What stands before an @ may be a password with a slash in it.
    path = "" if "@" in parts.path else parts.path.partition(";")[0]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def host_of(url: str) -> str:
    """The host alone, in small letters; empty where there is none."""
    return urlsplit(url).hostname or "" if _host(url) else ""


def _host(url: str) -> bool:
    """Whether the URL names a host, and its port is one if there is any."""
    try:
        parts = urlsplit(url)
        # Reading a wrong port fails.
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _fault_of_parameter(name: str, value: str) -> str:
    called = f"the parameter `{name}`" if _SHOWABLE.fullmatch(name) else "a parameter"
    if _SECRET.search(name):
        return f"{called} looks like a secret; {AS_A_HEADER}"
    # A name without a value may be a token by itself.
    content = value or name
    if _PLAIN.fullmatch(content) or (_TELLING.search(name) and _WORD.fullmatch(content)):
        return ""
    return (
        f"{called} may hold a secret; {AS_A_HEADER}. What may stand in the URL are up to four characters, true, "
        "false, versions, dates, and words where the name says what they are, such as `model` or `language`"
    )
