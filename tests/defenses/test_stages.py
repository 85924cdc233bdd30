"""Where a backbone is cut into stages, and what is collected of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.contracts import ModelShape
from inversionlab.defenses.parts import stages as parts
from inversionlab.defenses.parts.stages import recorded, stages
from inversionlab.recognizers import Recognizer, RecognizerSettings

NETWORKS: dict[str, tuple[dict[str, Any], list[int]]] = {
    # conv, norm, ReLU | two blocks, thrice | flatten, dropout, dense, norm
    "small_resnet": ({"width": 4, "blocks": (2, 2, 2), "feature_size": 8}, [3, 2, 2, 2, 4]),
    # conv, norm, PReLU | units of each stage; norm and dropout of the last map | flatten, dense, norm
    "ir50": ({"width": 2, "blocks": (1, 2, 1, 1), "feature_size": 8}, [3, 1, 2, 1, 3, 3]),
    # conv, ReLU twice | pool, conv, ReLU ... | pool, flatten, (dense, ReLU, dropout) twice
    "vgg16": ({"width": 2, "dense": 8}, [4, 5, 7, 7, 7, 8]),
    # conv, norm | pool, ReLU, conv, norm, twice | pool, ReLU, flatten, dense, dropout
    "yang_cnn": ({"width": 2, "blocks": 3, "dense": 8}, [2, 4, 4, 5]),
    # conv, ReLU | pool, conv, ReLU, thrice | pool, flatten, dense, ReLU
    "khosravy_cnn": ({"channels": (2, 2, 2, 2), "dense": (8,)}, [2, 3, 3, 3, 4]),
}
SHAPE = ModelShape(classes=3, channels=3, image_size=32)


def network(name: str) -> Recognizer:
    settings = RecognizerSettings.model_validate({"network": {"name": name, **NETWORKS[name][0]}})
    return Recognizer(settings, **SHAPE.sizes, seed=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_backbone_is_cut_where_its_map_gets_smaller(name: str) -> None:
    model = network(name)
    found = stages(model, SHAPE, "it:")
    assert [len(stage) for stage in found] == NETWORKS[name][1]
    assert [layer for stage in found for layer in stage] == list(model.backbone.layers.children())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stage_has_weights(name: str) -> None:
    for stage in stages(network(name), SHAPE, "it:"):
        assert sum(p.numel() for layer in stage for p in layer.parameters()) > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_a_large_backbone_is_cut_by_shapes_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(name)
    found = stages(model, SHAPE, "it:")
    monkeypatch.setattr(parts, "LARGE", 0)
    state = model.backbone.state_dict()
    assert stages(model, SHAPE, "it:") == found
    assert all(tensor.device.type == "cpu" for tensor in state.values())
    assert model.backbone.state_dict().keys() == state.keys()


def test_looking_leaves_the_network_alone() -> None:
    model = network("small_resnet")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    stages(model, SHAPE, "it:")
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in model.modules())


def test_a_network_without_a_sequence_of_layers_is_refused() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(3, 3)

    model = network("small_resnet")
    model.backbone = Other()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"bido: needs the stages.*`Other` has no sequence") as err:
        stages(model, SHAPE, "bido:")
    assert "small_resnet, ir50" in str(err.value)


def test_the_outputs_of_the_stages_are_collected_in_order() -> None:
    model = network("small_resnet").eval()
    found = stages(model, SHAPE, "it:")
    x_NCHW = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with recorded(found) as outputs:
        feature_ND = model.features(x_NCHW)
    expected: Tensor = x_NCHW * 2 - 1
    for stage, output in zip(found, outputs, strict=True):
        for layer in stage:
            expected = layer(expected)
        torch.testing.assert_close(output, expected)
    assert torch.equal(outputs[-1], feature_ND)
    model.features(x_NCHW)
    assert len(outputs) == len(found), "nothing is collected outside of the block"
