"""A torch.export file runs nothing but its operators, whatever its author put in."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from inversionlab.core.settings import ConfigError
from inversionlab.given import exported_model
from inversionlab.given.exported_archive import pickles_refused
from inversionlab.given.exported_model import load_exported
from tests.given.outside_model import OutsideFiles, with_blanks


class RunsCode:
    """A pickle of it makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def changed(file: Path, record: str, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with one record changed, or added if it has none."""
    out = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        root = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            if name != f"{root}/{record}":
                new.writestr(name, old.read(name))
        held = old.read(f"{root}/{record}") if f"{root}/{record}" in old.namelist() else b""
        new.writestr(f"{root}/{record}", change(held))
    return out.getvalue()


def edited(file: Path, record: str, edit: Callable[[Any], None]) -> bytes:
    """The archive with one JSON record edited in place."""

    def change(held: bytes) -> bytes:
        value = json.loads(held)
        edit(value)
        return json.dumps(value).encode()

    return changed(file, record, change)


def refusal(raw: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load_exported(raw, "model = faces.pt2")
    text = str(caught.value)
    assert text.startswith("model = faces.pt2: ")
    assert "weights_only" not in text
    assert "it was not executed" in text
    return text


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_an_unchanged_archive_still_loads_when_it_is_packed_again(outside: OutsideFiles) -> None:
    """So the refusals below are due to what was changed."""
    raw = edited(outside.exported, "models/model.json", lambda program: None)
    x = torch.rand(2, 3, 16, 16)
    assert torch.allclose(load_exported(raw, "model")(x), outside.net(x), atol=1e-5)


def test_a_pickle_in_the_example_inputs_is_not_executed(
    outside: OutsideFiles, tmp_path: Path
) -> None:
    trap = tmp_path / "ran"
    raw = changed(
        outside.exported, "data/sample_inputs/model.pt", lambda _: saved((RunsCode(trap),))
    )
    # Not vacuous: PyTorch itself executes it.
    torch.export.load(io.BytesIO(raw))
    trap.rmdir()
    assert "holds objects beside tensors in `data/sample_inputs/model.pt`" in refusal(raw)
    assert not trap.exists()


def test_pickles_are_refused_even_where_the_check_let_them_pass(
    outside: OutsideFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported_model, "check_archive", lambda raw, name: None)
    trap = tmp_path / "ran"
    inputs = changed(
        outside.exported, "data/sample_inputs/model.pt", lambda _: saved((RunsCode(trap),))
    )
    weight = changed(
        _weight_pickled(outside.exported), "data/weights/weight_0", lambda _: saved(RunsCode(trap))
    )
    opaque = changed(
        _opaque_constant(outside.exported),
        "data/constants/opaque_obj_0",
        lambda _: pickle.dumps(RunsCode(trap)),
    )
    for raw in (inputs, weight, opaque):
        with pytest.raises(ConfigError, match=r"torch\.export cannot load it") as caught:
            load_exported(raw, "model = faces.pt2")
        assert not trap.exists()
        assert "weights_only" not in str(caught.value)


def _rewritten(file: Path, raw: bytes) -> Path:
    other = file.with_name(f"changed_{len(raw)}.pt2")
    other.write_bytes(raw)
    return other


def _weight_pickled(file: Path) -> Path:
    def edit(weights: Any) -> None:
        next(iter(weights["config"].values()))["use_pickle"] = True

    return _rewritten(file, edited(file, "data/weights/model_weights_config.json", edit))


def _opaque_constant(file: Path) -> Path:
    def edit(constants: Any) -> None:
        constants["config"]["c"] = {
            "path_name": "opaque_obj_0",
            "is_param": False,
            "use_pickle": True,
            "tensor_meta": None,
        }

    return _rewritten(file, edited(file, "data/constants/model_constants_config.json", edit))


def test_pickled_tensors_and_objects_are_refused(outside: OutsideFiles) -> None:
    assert "holds a pickled tensor" in refusal(_weight_pickled(outside.exported).read_bytes())
    text = refusal(_opaque_constant(outside.exported).read_bytes())
    assert "holds the object `opaque_obj_0`" in text


def test_a_call_of_anything_but_an_operator_is_refused(
    outside: OutsideFiles, tmp_path: Path
) -> None:
    for target in (
        "torch.os.mkdir",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.save.default",
        "#extension:op",
    ):

        def edit(program: Any, target: str = target) -> None:
            program["graph_module"]["graph"]["nodes"][0]["target"] = target

        raw = edited(outside.exported, "models/model.json", edit)
        assert f"calls `{target}`" in refusal(raw)


@pytest.mark.parametrize(
    "expression",
    ["__import__('os').mkdir('x')", "Symbol('s0').func", "exec('1')", "[s0]", "Symbol('a b')"],
)
def test_a_size_that_is_more_than_a_formula_is_refused(
    outside: OutsideFiles, expression: str
) -> None:
    def edit(value: Any) -> None:
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, dict | list):
                edit(item)
        if isinstance(value, dict) and "expr_str" in value:
            value["expr_str"] = expression

    assert "has the size" in refusal(edited(outside.exported, "models/model.json", edit))


def test_structures_of_other_types_are_refused(outside: OutsideFiles) -> None:
    spec = {"type": "builtins.dict", "context": '{"__enum__": true, "fqn": "this:x"}'}

    def edit(program: Any) -> None:
        entry = program["graph_module"]["module_call_graph"][0]["signature"]
        entry["out_spec"] = json.dumps([1, {**spec, "children_spec": []}])

    raw = edited(outside.exported, "models/model.json", edit)
    assert "takes or gives objects of other types" in refusal(raw)


def test_a_compiled_library_is_refused(outside: OutsideFiles) -> None:
    raw = changed(outside.exported, "data/aotinductor/model/x.so", lambda _: b"\x7fELF")
    assert "holds the compiled library `data/aotinductor/model/x.so`" in refusal(raw)


def test_other_files_are_told_apart(outside: OutsideFiles) -> None:
    for raw, said in {
        outside.script.read_bytes(): "is a TorchScript model; name it *.ts",
        outside.state.read_bytes(): "holds weights, or an object",
        b"": "is empty",
        outside.exported.read_bytes()[:-300]: "is damaged, cut off",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load_exported(raw, "model = x")
        assert f"model = x: is not a torch.export model: it {said}" in str(caught.value)


def test_a_small_archive_does_not_cost_much_memory(
    outside: OutsideFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = with_blanks(outside.exported, "extra/blanks", 1_000_000)
    assert load_exported(raw, "model").size == (16, 16)
    # It is refused before anything is unpacked.
    monkeypatch.setattr(exported_model, "check_archive", lambda raw, name: pytest.fail("read"))
    raw = with_blanks(outside.exported, "extra/blanks", 70_000_000)
    with pytest.raises(ConfigError, match=r"^model = x: has 0\.\d MB that would become 70\.\d MB;"):
        load_exported(raw, "model = x")


def test_a_small_archive_in_an_archive_does_not_cost_much_memory(outside: OutsideFiles) -> None:
    packed = with_blanks(outside.state, "data/large", 1_000_000)
    record = "data/sample_inputs/model.pt"
    raw = changed(outside.exported, record, lambda _: packed)
    with pytest.raises(
        ConfigError, match=rf"^model = x: `{record}`: has 0\.\d MB that would become 1"
    ):
        load_exported(raw, "model = x")
    raw = changed(outside.exported, record, lambda _: saved(bytearray(9)))
    with pytest.raises(ConfigError, match=rf"^model = x: `{record}`: holds a bytearray"):
        load_exported(raw, "model = x")


def test_an_export_in_training_mode_is_refused(tmp_path: Path) -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()).train()
    program = torch.export.export(net, (torch.rand(2, 3, 4, 4),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(ConfigError, match="was exported in training mode"):
        load_exported((tmp_path / "net.pt2").read_bytes(), "model")


def test_the_guard_is_lifted_afterwards() -> None:
    load = torch.load
    with pickles_refused():
        assert torch.load is not load
    assert torch.load is load


def test_a_program_follows_its_pictures_to_another_device(outside: OutsideFiles) -> None:
    """The meta device stands for any other."""
    model = load_exported(outside.exported.read_bytes(), "model")
    found = model(torch.rand(2, 3, 16, 16, device="meta"))
    assert (found.device.type, found.shape) == ("meta", (2, 6))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert not any(parameter.requires_grad for parameter in model.parameters())
