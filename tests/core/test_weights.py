from __future__ import annotations

import io
import os
import pickle
import resource
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from inversionlab.core.files import file_digest
from inversionlab.core.settings import ConfigError
from inversionlab.core.weights import load_into, read_state_dict


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), fc=nn.Linear(4, 2))
    )


def written(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


STATE = network(1).state_dict()
FORMS = {
    "safetensors": safetensors.torch.save(STATE),
    "torch": written(STATE),
    "torch, before 1.6": written(STATE, _use_new_zipfile_serialization=False),
    "checkpoint": written({"epoch": torch.tensor(3), "state_dict": STATE}),
    "twice nested": written({"model": {"model_state_dict": STATE}}),
    "DataParallel": written({f"module.{k}": v for k, v in STATE.items()}),
    "compiled and parallel": written({f"module._orig_mod.{k}": v for k, v in STATE.items()}),
    "Lightning": safetensors.torch.save({f"model.backbone.{k}": v for k, v in STATE.items()}),
    "without counters": written({k: v for k, v in STATE.items() if "batches_tracked" not in k}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_state_dict_fills_the_network(form: str) -> None:
    module = network(2)
    load_into(module, read_state_dict(FORMS[form], "weights"), "weights = x")
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, STATE[name]), name


def test_a_prefix_that_only_the_module_has_is_put_on() -> None:
    module = nn.Module()
    module.model = nn.Module()
    module.model.net = network(2)
    load_into(module, STATE, "weights = x")
    assert torch.equal(module.model.net.fc.weight, STATE["fc.weight"])


def test_a_prefix_that_the_module_has_too_stays() -> None:
    wrapped = nn.DataParallel(network(2))
    load_into(wrapped, {f"module.{k}": v for k, v in STATE.items()}, "weights = x")
    assert torch.equal(wrapped.module.fc.weight, STATE["fc.weight"])


def refusal(state: dict[str, Tensor]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_into(network(2), state, "weights = faces.pt")
    return str(caught.value)


def test_missing_unexpected_and_misshapen_keys_are_named_and_counted() -> None:
    state = {k: v for k, v in STATE.items() if not k.startswith("norm")}
    state |= {"fc.weight": torch.zeros(7, 4), "fc.bias": torch.zeros(7), "extra": torch.zeros(1)}
    assert refusal(state) == (
        "weights = faces.pt: does not fit the model: 4 missing: `norm.weight`, `norm.bias`, `norm.running_mean` "
        "and 1 more; 1 unexpected: `extra`; 2 of another shape: `fc.weight` (file (7, 4), model (2, 4)), "
        "`fc.bias` (file (7,), model (2,))"
    )


def test_a_refused_state_dict_changes_nothing() -> None:
    module = network(2)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(ConfigError):
        load_into(module, {**STATE, "extra": torch.zeros(1)}, "weights = x")
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(value: float) -> None:
    broken = {**STATE, "conv.weight": torch.full((4, 3, 3, 3), value)}
    text = refusal(broken)
    assert text == (
        "weights = faces.pt: holds weights 1 with NaN or infinite numbers: `conv.weight`"
    )


class RunsCode:
    """A pickle of it makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_that_would_run_code_is_not_executed(tmp_path: Path, old: bool) -> None:
    trap = tmp_path / "ran"
    held = {"fc.weight": torch.ones(2), "more": RunsCode(trap)}
    raw = written(held, _use_new_zipfile_serialization=not old)
    # Not vacuous: the loader that executes makes the folder.
    torch.load(io.BytesIO(raw), weights_only=False)
    trap.rmdir()
    file = tmp_path / "faces.pt"
    file.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        read_state_dict(file, "weights")
    assert not trap.exists()
    text = str(caught.value)
    assert text.startswith(f"weights = {file}: holds `posix.mkdir` beside tensors")
    assert "it was not executed" in text
    assert "torch.save(model.state_dict(), FILE)" in text
    assert "safetensors" in text
    assert "weights_only" not in text
    assert caught.value.__cause__ is None, "a printed chain would show PyTorch's own advice"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html></html>", "is a web page, not a model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
        (written(STATE)[:-200], "is damaged, cut off"),
        (written(STATE, _use_new_zipfile_serialization=False)[:-50], "is damaged, cut off"),
        (safetensors.torch.save(STATE)[:-8], "is damaged, cut off"),
        (b"PK but no archive", "is damaged, cut off"),
        (written([1, 2]), "holds a list; expected a state dict"),
        (written(torch.ones(3)), "holds a Tensor; expected a state dict"),
        (written({"epoch": 1, "loss": 0.5}), "holds no tensors but `epoch`, `loss`"),
        (written({}), "holds no tensors but nothing"),
        (written(nn.Linear(1, 1)), "holds `torch.nn.modules.linear.Linear` beside tensors"),
        (pickle.dumps({"a": 1}, protocol=5), "holds objects beside tensors"),
    ],
    # Bytes have no name: some of these differ from process to process.
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_what_is_no_state_dict_is_refused_in_one_line(raw: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_state_dict(raw, "weights = x")
    assert said in str(caught.value)
    assert str(caught.value).startswith("weights = x: ")
    assert "\n" not in str(caught.value)


def test_files_that_hold_a_whole_model_are_told_apart(tmp_path: Path) -> None:
    with pytest.warns(FutureWarning):  # of PyTorch, which recommends torch.export
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "net.pt"))
    with pytest.raises(ConfigError, match="is a TorchScript model; give it as `model` without"):
        read_state_dict(tmp_path / "net.pt", "weights")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"weights = .*no\.pt: there is no such file"):
        read_state_dict(tmp_path / "no.pt", "weights")
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        read_state_dict(tmp_path, "weights")
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        file_digest(tmp_path, "weights")


def test_a_digest_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x", "weights") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def bomb() -> bytes:
    """What `torch.save` wrote, compressed."""
    source = zipfile.ZipFile(io.BytesIO(written({"a": torch.zeros(10_000_000)})))
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    return sink.getvalue()


class Long:
    def __reduce__(self) -> tuple[type, tuple[int]]:
        return bytearray, (40_000_000,)


@pytest.mark.parametrize(
    ("make", "told"),
    {
        "compressed": (bomb, r"has 0\.0 MB that would become 40\.0 MB; save the weights alone"),
        "repeated": (
            lambda: written({"a": torch.zeros(1).expand(10**9)}),
            r"`a` has the shape \(1000000000,\), but the file holds fewer numbers than that",
        ),
        "a length": (lambda: written({"a": Long()}), "holds a bytearray beside tensors"),
        "a length, before 1.6": (
            lambda: written({"a": Long()}, _use_new_zipfile_serialization=False),
            "holds a bytearray beside tensors",
        ),
        "a header": (
            lambda: (
                b"\x60\0\0\0\0\0\0\0"
                + b'{"a":{"dtype":"F32","shape":[500000000],"data_offsets":[0,2000000000]}}'.ljust(
                    0x60
                )
            ),
            "is damaged, cut off, or of another format",
        ),
    }.values(),
)
def test_a_small_file_does_not_cost_much_memory(make: Callable[[], bytes], told: str) -> None:
    raw = make()
    assert len(raw) < 100_000
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with pytest.raises(ConfigError, match=told):
            read_state_dict(raw, "weights")
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    # Kilobytes; what PyTorch takes is not Python's.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
