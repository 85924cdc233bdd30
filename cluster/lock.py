"""Prints `cluster/requirements.lock`: what the image installs, each file by its version and its SHA-256.

    python cluster/lock.py > cluster/requirements.lock

pip is asked what it would install here, so the list is for this machine's system and processor and this Python.
Run it again when `constraints.txt` or the dependencies change, and for an image of another processor on one.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("onnx", "endpoint", "faces", "timm")
"""Those of models that you have: ONNX, endpoints, SFace (an evaluator of the LFW recipes), timm."""
CLOUD = ("boto3",)
"""What the autoscaler on AWS, and code packages in S3, need."""


def wanted() -> list[str]:
    """What the image must hold, without what that needs in turn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(need for e in EXTRAS for need in extras[e]), *CLOUD]


def locked(report: dict[str, Any]) -> str:
    """The list, from pip's report of what it would install.

    Raises:
        ValueError: a package is no wheel, and would run its own code to be built; or its hash is not known.
    """
    where = report["environment"]
    lines = [
        f"# {where['sys_platform']}, {where['platform_machine']}, Python {where['python_version']}. "
        "Made by cluster/lock.py; no addresses: any index will do."
    ]
    for package in sorted(report["install"], key=lambda p: str(p["metadata"]["name"]).lower()):
        name, version = package["metadata"]["name"], package["metadata"]["version"]
        source = package["download_info"]
        digest = source.get("archive_info", {}).get("hashes", {}).get("sha256")
        if digest is None or not source["url"].endswith(".whl"):
            raise ValueError(f"{name} {version}: is no wheel with a known SHA-256")
        lines.append(f"{name}=={version} --hash=sha256:{digest}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Ask pip, and print the list."""
    options = "--dry-run --ignore-installed --quiet --disable-pip-version-check --only-binary :all: --report -"
    told = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", *options.split()),
            *("-c", str(ROOT / "constraints.txt"), *wanted()),
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    print(locked(json.loads(told.stdout)), end="")


if __name__ == "__main__":
    main()
