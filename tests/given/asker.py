"""Asks an endpoint about made-up pictures, in a process of its own: asker.py SETTINGS FOLDER COUNT SEED."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from inversionlab.given import endpoint
from inversionlab.given.endpoint import BudgetError, EndpointClient
from inversionlab.given.endpoint_settings import EndpointSettings


def pictures(count: int, seed: int = 0, channels: int = 1) -> torch.Tensor:
    """Random pictures uint8 (count, channels, 8, 8)."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, 8, 8), dtype=torch.uint8, generator=rng)


if __name__ == "__main__":
    text, folder, count, seed = sys.argv[1:]
    endpoint.FIRST_PAUSE = 0.01
    settings = EndpointSettings.model_validate_json(text)
    with EndpointClient(settings, None, Path(folder)) as client:
        try:
            client.ask(pictures(int(count), int(seed)))
        except BudgetError:
            print("budget", flush=True)
        print(f"spent {client.spent}", flush=True)
