from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.given.loading import file_digests, load_model, packed_file
from inversionlab.given.onnx_model import external_files, load_onnx
from inversionlab.given.raw_model import check_answers
from inversionlab.given.settings import GivenModelSettings
from tests.given.outside_model import OutsideFiles

WEIGHT = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))


def built(
    *middle: Any, batch: int | str = "n", side: int | str = 8, old: bool = False, dtype: int = 1
) -> bytes:
    """Means of the colours of `x`, as `mean`, through some operators to `scores`; or times WEIGHT."""
    weight = numpy_helper.from_array(WEIGHT.numpy(), "weight")
    axes = numpy_helper.from_array(torch.tensor([2, 3]).numpy(), "axes")
    source = "x" if dtype == 1 else "float"
    cast = [] if dtype == 1 else [helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT)]
    graph = helper.make_graph(
        [
            *cast,
            helper.make_node("ReduceMean", [source, "axes"], ["mean"], keepdims=0),
            *(middle or (helper.make_node("MatMul", ["mean", "weight"], ["scores"]),)),
        ],
        "net",
        [
            helper.make_tensor_value_info("x", dtype, [batch, 3, side, side]),
            *([helper.make_tensor_value_info("weight", 1, [3, 4])] if old else []),
        ],
        [helper.make_tensor_value_info("scores", 1, None)],
        [weight, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def right(x: Tensor) -> Tensor:
    return x.mean((2, 3)) @ WEIGHT


@pytest.mark.parametrize(
    "changed", [{}, {"batch": 1}, {"batch": 3}, {"side": "s"}, {"old": True}], ids=str
)
def test_a_model_has_its_gradients_whatever_its_export_fixed(changed: Any) -> None:
    model = load_onnx(built(**changed), "model = x.onnx")
    assert (model.differentiable, model.note) == (True, "")
    x = torch.rand(5, 3, 8, 8).requires_grad_(True)
    torch.testing.assert_close(model(x), right(x))
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    (expected,) = torch.autograd.grad(right(x).sum(), x)
    torch.testing.assert_close(gradient, expected)


def test_a_fixed_size_behind_a_free_batch_axis_is_found() -> None:
    shape = numpy_helper.from_array(torch.tensor([1, 3]).numpy())
    nodes = (
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Reshape", ["mean", "shape"], ["one"]),
        helper.make_node("MatMul", ["one", "weight"], ["scores"]),
    )
    model = load_onnx(built(*nodes), "model = x.onnx")
    x = torch.rand(4, 3, 8, 8)
    assert model.batch == 1
    torch.testing.assert_close(model(x), right(x))


def test_an_operator_without_a_pytorch_form_leaves_scores_and_is_named() -> None:
    nodes = (
        helper.make_node("MatMul", ["mean", "weight"], ["product"]),
        helper.make_node("Hardmax", ["product"], ["hard"]),
        helper.make_node("Add", ["hard", "product"], ["scores"]),
    )
    model = load_onnx(built(*nodes), "model = x.onnx")
    assert not model.differentiable
    assert model.note == (
        "onnx2torch does not support the operator `Hardmax`; onnxruntime gives scores only"
    )
    x = torch.rand(5, 3, 8, 8)
    hard = nn.functional.one_hot(right(x).argmax(1), 4)
    torch.testing.assert_close(check_answers(model, x), right(x) + hard)


def test_a_pytorch_form_that_answers_otherwise_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from inversionlab.given import onnx_gradients

    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return right(x) + 0.25

    monkeypatch.setattr(onnx_gradients, "to_module", lambda model: Wrong())
    model = load_onnx(built(), "model = x.onnx")
    assert not model.differentiable
    assert "differ by up to 0.25" in model.note
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(model(x), right(x))


def test_newer_operators_that_have_definitions_keep_gradients() -> None:
    nodes = (
        helper.make_node("MatMul", ["mean", "weight"], ["product"]),
        helper.make_node("Gelu", ["product"], ["scores"]),
    )
    model = onnx.load_model_from_string(built(*nodes))
    model.opset_import[0].version = 20
    loaded = load_onnx(bytes(model.SerializeToString()), "model = x.onnx")
    x = torch.rand(2, 3, 8, 8)
    assert (loaded.differentiable, loaded.note) == (True, "")
    torch.testing.assert_close(loaded(x), nn.functional.gelu(right(x)))


def test_whole_numbers_at_the_input_have_no_gradient() -> None:
    model = load_onnx(built(dtype=TensorProto.UINT8), "model = x.onnx")
    assert not model.differentiable
    assert "takes pictures of uint8, and rounding has no gradient" in model.note
    x = torch.full((2, 3, 8, 8), 7.4)
    torch.testing.assert_close(model(x), right(torch.full((2, 3, 8, 8), 7.0)))


def moved(outside: OutsideFiles, folder: Path, location: str) -> GivenModelSettings:
    """The model with its weights in a file of another name."""
    model = onnx.load(outside.onnx, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return GivenModelSettings(model=str(folder / "net.onnx"))


def test_weights_beside_the_file_are_part_of_its_identity(
    outside: OutsideFiles, tmp_path: Path
) -> None:
    settings = moved(outside, tmp_path, "beside.bin")
    data = outside.onnx.with_name("net.onnx.data").read_bytes()
    (tmp_path / "beside.bin").write_bytes(data)
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(load_model(settings)(x), outside.net(x).detach())
    before = file_digests(settings)
    (tmp_path / "beside.bin").write_bytes(data + b"\0")
    after = file_digests(settings)
    assert before["model"] == after["model"]
    assert before["model_data"] != after["model_data"]


def beside(values: Tensor, location: str) -> Any:
    """A tensor, named by its file, whose values are to be read from a file."""
    tensor = numpy_helper.from_array(values.numpy(), location.partition(".")[0])
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return tensor


def in_a_branch(tensor: Any) -> Any:
    """A node that gives the tensor, which is a weight of each of its two branches."""
    output = [helper.make_tensor_value_info(tensor.name, 1, [4])]
    branch = helper.make_graph([], "branch", [], output, [tensor])
    return helper.make_node("If", ["yes"], ["bias"], then_branch=branch, else_branch=branch)


def with_bias(node: Any) -> bytes:
    """The model of `built`, plus the output `bias` of a node."""
    nodes = (
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        node,
        helper.make_node("MatMul", ["mean", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["scores"]),
    )
    return built(*nodes)


def test_weights_of_a_branch_come_from_beside_the_model_and_are_part_of_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    bias = torch.tensor([3.0, -1.0, 0.0, 2.0])
    for folder, values in (("models", bias), ("here", -bias)):
        (tmp_path / folder / "bias.bin").write_bytes(values.numpy().tobytes())
    (tmp_path / "models/net.onnx").write_bytes(with_bias(in_a_branch(beside(bias, "bias.bin"))))
    settings = GivenModelSettings(model=str(tmp_path / "models/net.onnx"))
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(load_model(settings)(x), right(x) + bias)
    before = file_digests(settings)
    (tmp_path / "models/bias.bin").write_bytes((2 * bias).numpy().tobytes())
    assert before["model_data"] != file_digests(settings)["model_data"]
    torch.testing.assert_close(load_model(settings)(x), right(x) + 2 * bias)


def placed(place: str, tensor: Any) -> Any:
    """A model that holds the tensor in a place of this kind."""
    plain = with_bias(helper.make_node("Constant", [], ["bias"], value_floats=[0.0] * 4))
    model = onnx.load_model_from_string(plain)
    constant = helper.make_node("Constant", [], ["bias"], value=tensor)
    empty = helper.make_tensor_value_info(tensor.name, 1, [4])
    if place == "branch in a branch":
        inner = helper.make_graph([in_a_branch(tensor)], "inner", [], [empty])
        outer = helper.make_node("If", ["yes"], ["other"], then_branch=inner, else_branch=inner)
        model.graph.node.append(outer)
    elif place == "list of graphs":
        graph = helper.make_graph([constant], "graph", [], [empty])
        model.graph.node.append(
            helper.make_node("Own", [], ["other"], domain="own", graphs=[graph])
        )
    elif place == "list of tensors":
        model.graph.node.append(helper.make_node("Own", [], ["other"], domain="own", all=[tensor]))
    elif place == "function":
        opsets = [helper.make_opsetid("", 18)]
        model.functions.append(helper.make_function("own", "F", [], ["bias"], [constant], opsets))
    elif place == "sparse initializer":
        tensor.dims[:] = [4]
        indices = numpy_helper.from_array(np.arange(4), "indices")
        sparse = helper.make_sparse_tensor(tensor, indices, [4])
        model.graph.sparse_initializer.append(sparse)
    else:
        model.graph.initializer.append(tensor)
    return model


@pytest.mark.parametrize(
    "place",
    [
        *("initializer", "branch in a branch", "list of graphs", "list of tensors", "function"),
        "sparse initializer",
    ],
)
def test_weights_beside_the_file_are_found_in_every_place(place: str, tmp_path: Path) -> None:
    model = placed(place, beside(torch.ones(4), "odd.bin"))
    file = tmp_path / "net.onnx"
    file.write_bytes(model.SerializeToString())
    settings = GivenModelSettings(model=str(file))
    with pytest.raises(ConfigError, match=r"`odd\.bin` must be next to it, but are not"):
        packed_file(settings)
    with pytest.raises(ConfigError, match="keeps weights in another file"):
        load_onnx(file.read_bytes(), "model = x.onnx")
    (tmp_path / "odd.bin").write_bytes(torch.full((4,), 7.0).numpy().tobytes())
    assert set(file_digests(settings)) == {"model", "model_data"}
    assert b"odd.bin" not in (packed_file(settings) or b"odd.bin")


def test_files_beside_a_model_are_numbered_with_the_graphs_own_first(tmp_path: Path) -> None:
    """As earlier versions numbered them, which found these alone: the numbers are in the model's name."""
    constant = helper.make_node("Constant", [], ["bias"], value=beside(torch.ones(4), "b.bin"))
    model = onnx.load_model_from_string(with_bias(constant))
    model.graph.node.insert(0, in_a_branch(beside(torch.ones(4), "c.bin")))
    model.graph.initializer.append(beside(torch.ones(4), "a.bin"))
    for name in "abc":
        (tmp_path / f"{name}.bin").write_bytes(bytes(16))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    found = external_files(tmp_path / "net.onnx", "model")
    assert [file.name for file in found.values()] == ["a.bin", "b.bin", "c.bin"]


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "sub/secret.bin"])
def test_nothing_outside_the_models_folder_is_read(
    outside: OutsideFiles, tmp_path: Path, location: str
) -> None:
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        (place / "secret.bin").write_bytes(bytes(10_000))
    settings = moved(outside, folder, location)
    with pytest.raises(ConfigError, match="only a file next to it is read"):
        packed_file(settings)


def test_a_link_or_a_missing_file_of_weights_is_refused(
    outside: OutsideFiles, tmp_path: Path
) -> None:
    settings = moved(outside, tmp_path, "beside.bin")
    with pytest.raises(ConfigError, match=r"`beside\.bin` must be next to it, but are not"):
        packed_file(settings)
    with pytest.raises(ConfigError, match=r"`x+\.\.\.` is not a usable path: File name too long"):
        packed_file(moved(outside, tmp_path, "x" * 300))
    settings = moved(outside, tmp_path, "beside.bin")
    (tmp_path / "beside.bin").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="only a file next to it is read"):
        packed_file(settings)


def test_bytes_that_refer_to_another_file_are_refused(outside: OutsideFiles) -> None:
    with pytest.raises(ConfigError, match="keeps weights in another file"):
        load_onnx(outside.onnx.read_bytes(), "model = x.onnx")


def test_what_is_no_such_model_is_refused(outside: OutsideFiles) -> None:
    two = onnx.load_model_from_string(built())
    two.graph.input.append(helper.make_tensor_value_info("mask", 1, ["n"]))
    flat = onnx.load_model_from_string(built())
    del flat.graph.input[0].type.tensor_type.shape.dim[3:]
    for raw, said in {
        b"": "is empty",
        b"<html></html>": "is a web page, not a model",
        b"no model at all": "is not an ONNX model",
        outside.state.read_bytes(): "holds pickle and is not an ONNX model",
        bytes(two.SerializeToString()): "must take one input, the pictures, but takes `x`, `mask`",
        bytes(flat.SerializeToString()): "must take pictures (N, C, H, W), but takes 3 axes",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load_onnx(raw, "model = x.onnx")
        assert str(caught.value).startswith("model = x.onnx: ")
        assert said in str(caught.value)
