"""What another user of this machine can reach. Run by root as a process of its own, which becomes that user first.

Standard input: JSON with `folders` to walk and `ports` to ask. Standard output: JSON, a line for each thing that
could be read, written or asked.
"""

import http.client
import json
import os
import socket
import stat
import sys
from pathlib import Path

USER = 65534
PATHS = (
    "/",
    "/metrics",
    "/api/version",
    "/api/jobs/",
    "/api/v0/actors",
    "/nodes?view=summary",
    "/logs",
)
PAGE = b"<!doctype html>"


def reached(folders: list[str], ports: list[int]) -> list[str]:
    """What this user can reach."""
    found = []
    for top in folders:
        # os.walk passes over what it may not list.
        for folder, names, files in os.walk(top):
            if os.access(folder, os.W_OK):
                found.append(f"can write into {folder}")
            for name in (*names, *files):
                found += _in_folder(f"{folder}/{name}")
    for port in ports:
        found += [f"port {port}: {path} answers" for path in PATHS if _answers(port, path)]
    return found


def _in_folder(path: str) -> list[str]:
    found = []
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return []
    if stat.S_ISSOCK(mode):
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(path) == 0:
                found.append(f"can connect to {path}")
    elif stat.S_ISREG(mode):
        for flags, what in ((os.O_RDONLY, "read"), (os.O_WRONLY, "write")):
            try:
                os.close(os.open(path, flags))
                found.append(f"can {what} {path}")
            except OSError:
                pass
    return found


def _answers(port: int, path: str) -> bool:
    """Whether an HTTP server tells this user more than that it wants a token, or its empty page."""
    try:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        client.request("GET", path)
        answer = client.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException):
        return False
    return answer.status < 400 and not (path == "/" and content.lower().startswith(PAGE))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    # Python's own files may lie where the user cannot read them, so what is needed is loaded before.
    "127.0.0.1".encode("idna")
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    assert not Path("/root").is_dir() or not os.access("/root", os.W_OK)
    print(json.dumps(reached(asked["folders"], asked["ports"])))
