"""What the model sees of a picture: every step by hand, the gradient, and no difference that a batch makes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from inversionlab.core.alignment import SIDE, TEMPLATE, similarity
from inversionlab.core.settings import ConfigError, validate
from inversionlab.given.preprocessing import Preprocessing
from inversionlab.given.settings import PreprocessingSettings
from inversionlab.given.sface import LFW_POINTS

Points = list[list[float]]


def preprocessing(channels: int = 3, **keys: Any) -> Preprocessing:
    settings = validate(PreprocessingSettings, keys, origin="recipe.yaml")
    return Preprocessing(settings, channels)


def colored(*values: float) -> Tensor:
    """One picture of 16x16, each channel of one value."""
    return torch.tensor(values).view(1, -1, 1, 1).expand(1, -1, 16, 16)


def pictures(count: int, channels: int, side: int) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(3))


def template_points(turn: float = 0.0, scale: float = 1.0) -> Points:
    """The template's own points in shares, turned about the picture's centre by radians, and scaled."""
    w_5 = [complex(x + 0.5, y + 0.5) / SIDE - (0.5 + 0.5j) for x, y in TEMPLATE]
    z_5 = [w * scale * complex(math.cos(turn), math.sin(turn)) + (0.5 + 0.5j) for w in w_5]
    return [[z.real, z.imag] for z in z_5]


ALL: list[dict[str, Any]] = [
    {},
    {"size": 24},
    {"size": [12, 9]},
    {"size": [9, 12], "fit": "stretch"},
    {"points": LFW_POINTS, "size": 20},
    {"points": LFW_POINTS, "size": [16, 12], "colors": "bgr", "range": "0..255"},
    {"points": LFW_POINTS, "size": 8, "colors": "gray", "range": "-1..1"},
    {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "layout": "nhwc"},
]
EACH = pytest.mark.parametrize("keys", ALL, ids=lambda keys: json.dumps(keys)[:50])


def test_a_picture_that_fits_comes_back_bit_for_bit() -> None:
    x_NCHW = pictures(2, 3, 16)
    for keys in ({}, {"size": 16}, {"size": [16, 16], "fit": "stretch", "colors": "rgb"}):
        assert torch.equal(preprocessing(**keys)(x_NCHW), x_NCHW)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [0.2, 0.4, 0.6]),
        ({"colors": "bgr"}, [0.6, 0.4, 0.2]),
        # 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
        ({"colors": "gray"}, [0.363]),
        ({"range": "0..255"}, [51, 102, 153]),
        ({"range": "-1..1"}, [-0.6, -0.2, 0.2]),
        ({"mean": [0.1], "std": [0.5]}, [0.2, 0.6, 1.0]),
        # Mean and std count for the channels of the model: blue first, in 0..255.
        (
            {"colors": "bgr", "range": "0..255", "mean": [53, 52, 50], "std": [1, 2, 10]},
            [100, 25, 0.1],
        ),
        ({"colors": "gray", "range": "-1..1", "mean": [0.5], "std": [2]}, [-0.387]),
    ],
)
def test_colors_range_mean_and_std(keys: dict[str, Any], expected: list[float]) -> None:
    found_NCHW = preprocessing(**keys)(colored(0.2, 0.4, 0.6))
    assert found_NCHW.shape == (1, len(expected), 16, 16)
    torch.testing.assert_close(found_NCHW, colored(*map(float, expected)))


@pytest.mark.parametrize(("colors", "channels"), [("auto", 1), ("gray", 1), ("rgb", 3), ("bgr", 3)])
def test_gray_pictures_are_repeated_where_the_model_takes_color(colors: str, channels: int) -> None:
    made = preprocessing(1, colors=colors)
    assert made.channels == channels
    x_NCHW = pictures(2, 1, 16)
    assert torch.equal(made(x_NCHW), x_NCHW.repeat(1, channels, 1, 1))


def test_layout() -> None:
    x_NCHW = pictures(2, 3, 16)
    found_NHWC = preprocessing(layout="nhwc")(x_NCHW)
    assert torch.equal(found_NHWC, x_NCHW.permute(0, 2, 3, 1))
    assert found_NHWC.is_contiguous()


def test_a_size_that_is_not_square_takes_the_central_part_or_stretches() -> None:
    x_NCHW = (torch.arange(16.0) / 15).expand(1, 1, 16, 16)
    assert torch.equal(preprocessing(1, size=[16, 8])(x_NCHW), x_NCHW[..., 4:12])
    assert torch.equal(preprocessing(1, size=[8, 16])(x_NCHW), x_NCHW[:, :, 4:12])
    stretched = preprocessing(1, size=[16, 8], fit="stretch")(x_NCHW)
    assert stretched.shape == (1, 1, 16, 8)
    # A column of the result lies in the middle between two columns of the picture.
    inner = torch.tensor([(2 * column + 0.5) / 15 for column in range(1, 7)])
    torch.testing.assert_close(stretched[0, 0, :, 1:7], inner.expand(16, 6))


@pytest.mark.parametrize("keys", [{"size": 16}, {"points": template_points(), "size": 16}])
def test_a_smaller_size_skips_no_pixels(keys: dict[str, Any]) -> None:
    # Without a filter, each pixel of the result would lie between two white columns.
    white_W = (torch.arange(64) % 4 == 1) | (torch.arange(64) % 4 == 2)
    found_NCHW = preprocessing(1, **keys)(white_W.float().expand(1, 1, 64, 64))
    torch.testing.assert_close(
        found_NCHW[..., 2:-2, 2:-2], torch.full((1, 1, 12, 12), 0.5), atol=0.02, rtol=0
    )


@pytest.mark.parametrize(
    ("size", "scale", "offset"),
    [
        (None, (1, 1), (0, 0)),
        (224, (2, 2), (0, 0)),
        # SphereFace's format, whose template lies 8 pixels further left.
        ([112, 96], (1, 1), (-8, 0)),
    ],
)
@pytest.mark.parametrize("side", [64, 300])
def test_five_points_are_brought_to_the_template(
    size: Any, scale: tuple[float, float], offset: tuple[float, float], side: int
) -> None:
    """A spot at each of a turned and smaller face's points lands at the template's point."""
    points = template_points(turn=0.3, scale=0.7)
    made = preprocessing(1, points=points, size=size)
    centre = (torch.arange(side) + 0.5) / side
    for (x, y), (right, down) in zip(points, TEMPLATE, strict=True):
        spot_HW = torch.exp(-((centre - x) ** 2 + (centre[:, None] - y) ** 2) / (2 * 0.03**2))
        found_HW = made(spot_HW[None, None])[0, 0]
        height, width = found_HW.shape
        total = found_HW.sum()
        found_x = float((found_HW.sum(0) * torch.arange(width)).sum() / total)
        found_y = float((found_HW.sum(1) * torch.arange(height)).sum() / total)
        # (0, 0) is the centre of a pixel, so a scale moves it by half a pixel.
        assert found_x == pytest.approx((right + 0.5) * scale[0] - 0.5 + offset[0], abs=0.3)
        assert found_y == pytest.approx((down + 0.5) * scale[1] - 0.5 + offset[1], abs=0.3)


def test_black_lies_beyond_the_picture() -> None:
    found_HW = preprocessing(1, points=template_points(scale=1.3))(torch.ones(1, 1, 64, 64))[0, 0]
    assert found_HW[56, 56] == pytest.approx(1)
    assert found_HW[0, 0] == found_HW[-1, -1] == 0


def test_the_similarity_transform_is_the_least_squares_one() -> None:
    a, b = similarity(template_points())
    assert (a, b) == (pytest.approx(1), pytest.approx(0))
    a, b = similarity(template_points(turn=0.3, scale=0.5))
    assert a == pytest.approx(2 * complex(math.cos(0.3), -math.sin(0.3)))
    z_5 = [complex(2 * x - 1, 2 * y - 1) for x, y in LFW_POINTS]
    w_5 = [complex(2 * x - 1, 2 * y - 1) for x, y in template_points()]

    def error(a: complex, b: complex) -> float:
        return sum(abs(a * z + b - w) ** 2 for z, w in zip(z_5, w_5, strict=True))

    a, b = similarity(LFW_POINTS)
    for way in (0.01, -0.01, 0.01j, -0.01j):
        assert error(a, b) < min(error(a + way, b), error(a, b + way))


@EACH
def test_every_step_is_differentiable(keys: dict[str, Any]) -> None:
    made = preprocessing(**keys).double()
    x_NCHW = pictures(1, 3, 10).double().requires_grad_()
    assert torch.autograd.gradcheck(made, x_NCHW)


@EACH
def test_a_row_and_its_gradient_do_not_depend_on_the_batch(keys: dict[str, Any]) -> None:
    made, x_NCHW = preprocessing(**keys), pictures(9, 3, 32)

    def passed(part_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        leaf_NCHW = part_NCHW.clone().requires_grad_()
        found_N = made(leaf_NCHW)
        (found_N**2).sum().backward()
        assert leaf_NCHW.grad is not None
        return found_N.detach(), leaf_NCHW.grad

    whole, whole_gradient = passed(x_NCHW)
    assert (whole_gradient.flatten(1).abs().amax(1) > 0).all()
    for size in (1, 2, 4):
        found, gradient = zip(*map(passed, x_NCHW.split(size)), strict=True)
        assert torch.equal(torch.cat(found), whole)
        assert torch.equal(torch.cat(gradient), whole_gradient)


@pytest.mark.gpu
@EACH
def test_a_gpu_computes_the_same(keys: dict[str, Any]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    made, x_NCHW = preprocessing(**keys), pictures(3, 3, 32)
    on_cpu = made(x_NCHW)
    found = made.cuda()(x_NCHW.cuda()).cpu()
    torch.testing.assert_close(found, on_cpu, atol=1e-4 * float(on_cpu.abs().max()), rtol=0)


@pytest.mark.parametrize(
    ("channels", "keys", "text"),
    [
        (3, {"mean": [0.5, 0.5]}, "mean = [0.5, 0.5]: has 2 numbers, but the model takes 3 channels"),
        (3, {"std": [1, 1, 1], "colors": "gray"}, "1 channel (colors = gray); give 1 number"),
        (1, {"mean": [0.5] * 3}, "1 channel (colors = auto); give 1 number; or name its `colors`"),
        (3, {"std": [0.2, 0.0, 0.2]}, "each number should be greater than 0"),
        (3, {"std": [-1.0]}, "std = [-1.0]: pixels are divided by it; each number"),
        (3, {"mean": [123.7, 116.3, 103.5]}, "outside of range = 0..1; are these units of `range: 0..255`?"),
        (3, {"mean": [-0.2]}, "mean = [-0.2]: lies outside of range = 0..1"),
        (3, {"mean": [127.5], "range": "-1..1"}, "are these units of `range: 0..255`?"),
        (3, {"mean": [0.485, 0.456, 0.406], "range": "0..255"}, "set `range: 0..1`, or multiply them by 255"),
        (3, {"std": [0.229], "range": "0..255"}, "are not in units of range = 0..255"),
        (3, {"std": [255.0]}, "set `range: 0..255`, or divide it by 255"),
        (3, {"size": 0}, "size = 0: a picture has 8 to 4096 pixels per side"),
        (3, {"size": [64, 5000]}, "a picture has 8 to 4096 pixels per side"),
        (3, {"points": [[21.4, 25.2], *LFW_POINTS[1:]]}, "should be shares of the side from 0 to 1"),
        (3, {"points": [LFW_POINTS[i] for i in (1, 0, 2, 4, 3)]}, "do not look like a face; give the left eye"),
        (3, {"points": [[y, x] for x, y in LFW_POINTS]}, "do not look like a face"),
        (3, {"points": LFW_POINTS[::-1]}, "do not look like a face"),
        (3, {"points": [[0.5, 0.5]] * 5}, "do not look like a face"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(channels: int, keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        preprocessing(channels, **keys)
    assert text in str(error.value)
    (key, *_) = keys
    assert key in str(error.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"range": "0..255", "mean": [0.0, 0.0, 0.0], "std": [255.0, 255.0, 255.0]},
        {"range": "0..255", "mean": [127.5], "std": [128.0]},
        {"range": "-1..1", "mean": [-0.1], "std": [1.0]},
        {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        {"points": template_points(turn=1.0)},
    ],
)
def test_what_is_common_is_not_refused(keys: dict[str, Any]) -> None:
    assert preprocessing(**keys)(colored(0.2, 0.4, 0.6)).isfinite().all()
