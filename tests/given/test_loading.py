from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.given.loading import file_digests, load_model, model_files, packed_file
from inversionlab.given.raw_model import check_answers
from inversionlab.given.settings import GivenModelSettings
from tests.given import users_models
from tests.given.outside_model import PEOPLE, SIDE, OutsideFiles, OutsideNet, with_blanks

HERE = "tests.given.users_models"
NET = "tests.given.outside_model:OutsideNet"


def given(model: str | Path, **more: Any) -> GivenModelSettings:
    return GivenModelSettings(model=str(model), **more)


def pictures(count: int = 5) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, SIDE, SIDE, generator=rng) * 2 - 1


def kinds(outside: OutsideFiles) -> dict[str, GivenModelSettings]:
    return {
        "state dict": given(NET, weights=outside.state),
        "safetensors": given(NET, weights=outside.safetensors),
        "loads itself": given(f"{HERE}:LoadsItself", arguments={"file": str(outside.safetensors)}),
        "factory": given(f"{HERE}:factory", arguments={"file": str(outside.safetensors)}),
        "script": given(outside.script),
        "exported": given(outside.exported),
        "exported, fixed": given(outside.exported_fixed),
        "onnx": given(outside.onnx),
        "onnx, fixed": given(outside.onnx_fixed),
    }


KINDS = (
    *("state dict", "safetensors", "loads itself", "factory", "script"),
    *("exported", "exported, fixed", "onnx", "onnx, fixed"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_scores_and_gradients_of_the_network(
    outside: OutsideFiles, kind: str
) -> None:
    settings = kinds(outside)[kind]
    model = load_model(settings, PEOPLE)
    assert (model.differentiable, model.note) == (True, "")
    assert not any(parameter.requires_grad for parameter in model.parameters())
    x = pictures().requires_grad_(True)
    right, found = outside.net(x), model(x)
    assert right.abs().max() > 0.5
    torch.testing.assert_close(found, right, atol=1e-5, rtol=0)
    (right_gradient,) = torch.autograd.grad(right.square().sum(), x)
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    assert right_gradient.abs().max() > 0.1
    torch.testing.assert_close(gradient, right_gradient, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(check_answers(model, x.detach()), right.detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_packed_file_is_all_that_another_computer_needs(
    outside: OutsideFiles, kind: str, tmp_path: Path
) -> None:
    settings = kinds(outside)[kind]
    packed = packed_file(settings)
    gone = settings
    if packed is not None and settings.weights is not None:
        gone = settings.model_copy(update={"weights": tmp_path / "gone"})
    elif packed is not None:
        gone = given(tmp_path / Path(str(settings.model)).name)
    assert (packed is None) == (kind in ("loads itself", "factory"))
    assert torch.equal(
        load_model(gone, PEOPLE, packed)(pictures()), load_model(settings)(pictures())
    )


@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_the_batch_or_on_training_mode(
    outside: OutsideFiles, kind: str
) -> None:
    model = load_model(kinds(outside)[kind], PEOPLE)
    x = pictures()
    alone = torch.cat([model(row) for row in x.split(1)])
    torch.testing.assert_close(model(x), alone, atol=1e-5, rtol=0)
    model.train()
    trainable = kind in ("state dict", "safetensors", "loads itself", "factory")
    assert model.trainable == trainable
    assert torch.allclose(model(x), alone, atol=1e-4) != trainable


def test_files_and_digests_are_those_of_the_user(outside: OutsideFiles) -> None:
    of_weights = given(NET, weights=outside.safetensors)
    digest = hashlib.sha256(outside.safetensors.read_bytes()).hexdigest()
    assert model_files(of_weights) == {"weights": outside.safetensors}
    assert file_digests(of_weights) == {"weights": digest}
    assert model_files(given(outside.exported)) == {"model": outside.exported}
    data = outside.onnx.with_name("net.onnx.data")
    assert model_files(given(outside.onnx)) == {"model": outside.onnx, "model_data": data}
    assert model_files(given(f"{HERE}:predict")) == {}


def test_access_by_scores_needs_no_gradient(outside: OutsideFiles) -> None:
    for settings in (given(outside.script), given(NET, weights=outside.state)):
        model = load_model(settings.model_copy(update={"access": "scores"}))
        assert not model(pictures().requires_grad_(True)).requires_grad
        assert not model.differentiable
        assert model.note == "`access` is scores"


@pytest.mark.parametrize("name", ["predict", "predict_list", "predict_rows"])
def test_a_function_answers_by_scores_alone(name: str) -> None:
    model = load_model(given(f"{HERE}:{name}"))
    x = pictures().requires_grad_(True)
    assert torch.equal(model(x), x.detach().flatten(1)[:, :4])
    assert not model.differentiable
    assert "a function, which gives scores only" in model.note
    assert check_answers(model, pictures()).shape == (5, 4)
    if name == "predict":
        assert users_models.CALLS[-1].dtype == torch.float32
        assert users_models.CALLS[-1].shape == (5, 3, SIDE, SIDE)


REFUSED = {
    "nowhere.at.all:Net": "model = nowhere.at.all:Net: cannot be imported",
    f"{HERE}:Fails": "cannot be built with arguments {}: ValueError: no such thing",
    f"{HERE}:Exits": "cannot be built with arguments {}: it calls sys.exit(3)",
    f"{HERE}:NoModule": "is a class but not a torch.nn.Module",
    f"{HERE}:AN_INSTANCE": "is a Linear; name its class, or a function that returns it",
    f"{HERE}:CALLS": "is a list; name its class",
    f"{HERE}:returns_nothing": "returned a NoneType when called with arguments {}",
    NET: "has random weights (`features.0.weight` and 3 more); give its trained weights",
    "package.module.Class": "did you mean `package.module:Class`?",
    "faces": "model = faces: names no model; expected `package.module:Class`",
    "faces.pth": "holds weights but no network; name its class",
    "/no/where.onnx": "model = /no/where.onnx: there is no such file",
    "live": "is a module that only a call from Python can hand over",
    "torchvision:resnet81": "torchvision has no such classifier; did you mean `resnet18`",
    "timm:resnet81": "timm has no such model; did you mean `resnet18`",
    "torchvision:resnet18": "has random weights (its parameters); give its trained weights",
    "timm:resnet18": "has random weights (its parameters); give its trained weights",
}


@pytest.mark.parametrize("model", REFUSED)
def test_what_cannot_be_loaded_is_refused_by_name(model: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(given(model), PEOPLE)
    assert REFUSED[model] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_head_that_its_constructor_leaves_random_is_named(outside: OutsideFiles) -> None:
    arguments = {"file": str(outside.safetensors), "head": False}
    with pytest.raises(ConfigError, match=r"has random weights \(`head.weight` and 1 more\)"):
        load_model(given(f"{HERE}:LoadsItself", arguments=arguments))


def test_building_twice_leaves_the_callers_random_numbers_alone(outside: OutsideFiles) -> None:
    torch.manual_seed(5)
    right = torch.rand(3)
    torch.manual_seed(5)
    load_model(given(f"{HERE}:factory", arguments={"file": str(outside.safetensors)}))
    assert torch.equal(torch.rand(3), right)


def test_weights_of_another_width_are_refused_by_shape(outside: OutsideFiles) -> None:
    settings = given(NET, arguments={"width": 4}, weights=outside.state)
    with pytest.raises(ConfigError) as caught:
        load_model(settings)
    text = str(caught.value)
    assert text.startswith(
        f"weights = {outside.state}: does not fit the model: 11 of another shape"
    )
    assert "`features.0.weight` (file (8, 3, 3, 3), model (4, 3, 3, 3))" in text


def test_weights_where_they_do_not_belong_are_refused(outside: OutsideFiles) -> None:
    for model, said in {
        f"{HERE}:predict": "is a function of pictures, which loads its own",
        str(outside.script): "holds its own weights; leave `weights` out",
    }.items():
        with pytest.raises(ConfigError, match=said):
            load_model(given(model, weights=outside.state))
    with pytest.raises(ConfigError, match="is a file, which takes none"):
        load_model(given(outside.script, arguments={"width": 4}))


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_models_of_libraries_take_the_number_of_classes_from_weights_or_data(
    library: str, tmp_path: Path
) -> None:
    name = "squeezenet1_1" if library == "torchvision" else "test_resnet.r160_in1k"
    net = _library_model(library, name, 7)
    file = tmp_path / "net.pt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, file)
    settings, x = given(f"{library}:{name}", weights=file), pictures().repeat(1, 1, 4, 4)
    for model in (load_model(settings), load_model(settings, 7)):
        assert torch.equal(model(x), net(x).detach())
    with pytest.raises(ConfigError, match=r"of another shape.*file \(7,.*model \(9,"):
        load_model(settings, 9)
    chosen = settings.model_copy(update={"arguments": {"num_classes": 7}})
    assert torch.equal(load_model(chosen, 9)(x), net(x).detach())
    embedding = given(f"{library}:{name}", weights=file, answers="embedding", gallery="private")
    assert load_model(embedding, 9)(x).shape == (5, 7)


def _library_model(library: str, name: str, classes: int) -> nn.Module:
    torch.manual_seed(0)
    if library == "torchvision":
        from torchvision import models

        made: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    else:
        timm = pytest.importorskip("timm")
        made = timm.create_model(name, pretrained=False, num_classes=classes)
    return made.eval()


@pytest.mark.parametrize(
    ("library", "key"),
    [("torchvision", "weights"), ("torchvision", "weights_backbone"), ("timm", "pretrained")],
)
def test_nothing_is_downloaded(library: str, key: str, outside: OutsideFiles) -> None:
    settings = given(f"{library}:resnet18", weights=outside.state, arguments={key: True})
    with pytest.raises(ConfigError, match=rf"arguments\.{key}: nothing is downloaded"):
        load_model(settings, PEOPLE)


def test_a_missing_file_has_its_nearest_neighbour_named(outside: OutsideFiles) -> None:
    wrong = outside.state.with_name("nett.pth")
    with pytest.raises(ConfigError, match=r"weights = .*did you mean `.*net\.pth`\?"):
        model_files(given(NET, weights=wrong))


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.pth")
    with pytest.raises(ConfigError, match=r"net\.pth: is a pipe or a device; name a file$"):
        model_files(given(NET, weights=tmp_path / "net.pth"))
    long = tmp_path / f"{'x' * 300}.pt"
    with pytest.raises(ConfigError, match=r"holds a name of more than 255 bytes; it is not a path"):
        model_files(given(long))


def test_a_relative_model_file_starts_at_the_current_folder(
    outside: OutsideFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(outside.script.parent)
    assert load_model(given("net.ts"))(pictures()).shape == (5, PEOPLE)


def test_a_small_torchscript_file_does_not_cost_much_memory(
    outside: OutsideFiles, tmp_path: Path
) -> None:
    file = tmp_path / "net.ts"
    file.write_bytes(with_blanks(outside.script, "large", 70_000_000))
    with pytest.raises(ConfigError, match=r"net\.ts: has 0\.\d MB that would become 70\.\d MB"):
        load_model(given(file))
    file.write_bytes(with_blanks(outside.script, "large", 1_000_000))
    assert load_model(given(file))(pictures()).shape == (5, PEOPLE)


@pytest.mark.parametrize("kind", ["state dict", "pickled module", "html", "exported"])
def test_a_pt_file_that_is_no_torchscript_says_what_to_do(
    outside: OutsideFiles, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "net.pt"
    if kind == "state dict":
        file.write_bytes(outside.state.read_bytes())
    elif kind == "pickled module":
        torch.save(OutsideNet(), file)
    elif kind == "exported":
        file.write_bytes(outside.exported.read_bytes())
    else:
        file.write_bytes(b"<html>404</html>")
    said = {
        "html": "is a web page, not a model",
        "exported": "is a torch.export model; name it *.pt2",
    }.get(kind, "would have to be unpickled and was not. Name the network's class")
    with pytest.raises(ConfigError) as caught:
        load_model(given(file))
    assert str(caught.value).startswith(f"model = {file}: is not a TorchScript model: it ")
    assert said in str(caught.value)
