"""Starts a network of the victim's structure from F_C, a recognizer of public people.

F_C (`pipeline/recognizer_specs.py`, `classifier_spec`) has the victim's structure and training, and learns the
public people with two pictures or more. They are people of the attacker's own auxiliary set. A defense asks for
F_C by `needs = {"classifier"}`.
"""

from typing import Any

from torch import nn


def start_from_public(network: nn.Module, classifier: nn.Module | None, user: str) -> None:
    """Give `network` the backbone of `classifier`, batch statistics included; its head stays as it is.

    Raises:
        ValueError: there is no classifier; the message begins with `user`.
    """
    if classifier is None:
        raise ValueError(f"{user} needs a recognizer of public people")
    # Any: defenses do not import the recognizers' classes.
    into: Any = network
    source: Any = classifier
    into.backbone.load_state_dict(source.backbone.state_dict())
