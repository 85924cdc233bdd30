from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from inversionlab import generators
from inversionlab.attacks import ATTACKS
from inversionlab.core.settings import ConfigError
from inversionlab.defenses.base import Undefended
from inversionlab.experiment import RuntimeSettings
from inversionlab.generators import GENERATORS, Generator
from inversionlab.generators.inversion_model import InversionModel, InversionModelSettings
from inversionlab.given.live import load_live
from inversionlab.given.raw_model import RawModel
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import LIVE, GivenModelSettings
from inversionlab.pipeline import compiled as module_under_test
from inversionlab.pipeline.batch_invariant import BatchInvariantModel, BatchInvariantPrior
from inversionlab.pipeline.compiled import InBfloat16, Precision, chip_precision, compiled, fold
from inversionlab.recognizers import RECOGNIZERS, Recognizer, RecognizerSettings
from tests import tiny
from tests.generators.small import small

SIZE = 32
NETWORKS: dict[str, dict[str, Any]] = {
    "imported": {"path": "tests.pipeline.test_compiled:Outer"},
    "ir50": {"width": 4, "feature_size": 16, "inner_norm": True},
    "khosravy_cnn": {},
    "small_resnet": {"width": 8},
    "torchvision": {},
    "vgg16": {"width": 4, "dense": 32, "batch_norm": True},
    "yang_cnn": {},
}
NORMS = {
    "imported": 1,
    "torchvision": 20,
    "ir50": 52,
    "small_resnet": 13,
    "vgg16": 13,
    "yang_cnn": 3,
}
"""Batch normalisations that follow a convolution in each of these; the others have none."""


pytestmark = pytest.mark.usefixtures("one_thread")


def lively(network: nn.Module) -> nn.Module:
    """The network with statistics and scales as after a training, in inference mode, frozen."""
    rng = torch.Generator().manual_seed(3)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in (
                (layer.running_mean, -0.3, 0.3),
                (layer.running_var, 0.5, 2.0),
                (layer.weight, 0.5, 1.5),
                (layer.bias, -0.3, 0.3),
            ):
                assert tensor is not None
                tensor.data.uniform_(low, high, generator=rng)
    return network.eval().requires_grad_(False)


def recognizer(name: str) -> Recognizer:
    settings = RecognizerSettings.model_validate({"network": {"name": name, **NETWORKS[name]}})
    made = Recognizer(settings, classes=6, channels=3, image_size=SIZE, seed=1)
    return cast(Recognizer, lively(made))


def generator(name: str) -> Generator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = generators.build(small(name, latent_size=8), channels=3, image_size=SIZE, classes=6)
    return cast(Generator, lively(made))


def pictures(count: int = 5) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def latents(of: Generator, count: int = 5) -> Tensor:
    return of.draw(count, torch.Generator().manual_seed(0))


def with_gradient(forward: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """What `forward` gives, and the gradient of a sum of it."""
    x = x.clone().requires_grad_(True)
    y = forward(x)
    (g,) = torch.autograd.grad((y * torch.linspace(0.5, 1, y[0].numel()).view(y[0].shape)).sum(), x)
    return y.detach(), g


def assert_alike(forward: Any, plain: Any, x: Tensor) -> None:
    for mine, theirs in zip(with_gradient(forward, x), with_gradient(plain, x), strict=True):
        scale = float(theirs.abs().max())
        assert scale > 0
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * max(scale, 1))


def calls_of_norms(network: nn.Module, x: Tensor) -> int:
    """How often a two-dimensional batch normalisation computes something in one pass."""
    seen = 0
    plain = nn.functional.batch_norm

    def counted(x: Tensor, *rest: Any, **more: Any) -> Tensor:
        nonlocal seen
        seen += x.ndim == 4
        return plain(x, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "batch_norm", counted)
        network(x)
    return seen


@pytest.mark.parametrize("name", sorted(RECOGNIZERS))
def test_every_recognizer_gives_the_same_scores_and_gradients_folded(name: str) -> None:
    network, x_NCHW = recognizer(name), pictures()
    before = {key: weight.clone() for key, weight in network.state_dict().items()}
    folded = compiled(network)
    assert_alike(folded, network, x_NCHW)
    left = calls_of_norms(network, x_NCHW) - calls_of_norms(folded, x_NCHW)
    assert left == NORMS.get(name, 0)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_every_generator_makes_the_same_pictures_folded(name: str) -> None:
    plain = generator(name)
    folded = cast(Generator, compiled(plain))
    # The layers of a given generator may be used in ways that one trace does not show.
    assert (folded is plain) == (not GENERATORS[name].trains)
    assert_alike(folded, plain, latents(plain))
    if plain.encode(pictures()) is not None:
        assert_alike(folded.encode, plain.encode, pictures())
    for offered in {"critic"} & GENERATORS[name].offers:
        assert_alike(getattr(folded, offered), getattr(plain, offered), pictures())
    assert calls_of_norms(folded, latents(plain)) <= 1, "one may follow the first dense layer"


def test_an_inversion_model_is_folded() -> None:
    settings = InversionModelSettings(width=8)
    plain = lively(InversionModel(settings, classes=6, channels=3, image_size=SIZE))
    y_NK = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert_alike(compiled(plain), plain, y_NK)
    assert calls_of_norms(compiled(plain), y_NK) < calls_of_norms(plain, y_NK)


class Chain(nn.Module):
    """A convolution and a batch normalisation, used in a way that a subclass names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.other = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class Outer(Chain):
    """A user's backbone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean((2, 3))


class Branches(Chain):
    def forward(self, x: Tensor) -> Tensor:
        raw = self.conv(x)
        y: Tensor = self.norm(raw) + raw
        return y


class Twice(Chain):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x)) + self.conv(x)
        return y


class SharedNorm(Chain):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x)) + self.norm(self.other(x))
        return y


class ReadsWeights(Chain):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x)) * self.conv.weight.square().sum()
        return y


class Untraceable(Chain):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x if float(x.sum()) > 0 else -x))
        return y


class Grouped(Chain):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(3, 3, 3, groups=3)  # type: ignore[assignment]
        self.norm = nn.BatchNorm2d(3)


class Aliased(Chain):
    """Holds its layers in a list as well, which no registry of modules shows."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = [self.conv, self.norm]

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


class KeepsWhatItSees(Chain):
    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.norm(self.conv(x))
        return self.seen


@pytest.mark.parametrize(
    ("kind", "folds"),
    [
        *[(Chain, 1), (Aliased, 1), (KeepsWhatItSees, 1), (Branches, 0), (Twice, 0)],
        *[(SharedNorm, 0), (ReadsWeights, 0), (Untraceable, 0), (Grouped, 0)],
    ],
)
def test_only_a_pair_that_nothing_else_sees_is_folded(kind: type[Chain], folds: int) -> None:
    plain = lively(kind())
    mine = copy.deepcopy(plain)
    assert fold(mine) == folds
    torch.testing.assert_close(mine(pictures()), plain(pictures()), rtol=1e-5, atol=1e-5)
    assert isinstance(getattr(mine, "seen", torch.zeros(0)), Tensor), "no trace is left behind"


def test_a_network_whose_normalisation_is_hooked_stays() -> None:
    network, seen = lively(Chain()), []
    network.norm.register_forward_hook(lambda layer, args, y: seen.append(args[0]))  # type: ignore[operator]
    assert fold(network) == 0
    network(pictures())
    (before,) = seen
    torch.testing.assert_close(before, network.conv(pictures()))  # type: ignore[operator]


def test_a_network_in_training_stays() -> None:
    network = recognizer("small_resnet").train()
    assert compiled(network) is network
    assert fold(Chain().train()) == 0


def given(network: Any, **settings: Any) -> GivenRecognizer:
    options = GivenModelSettings(model=LIVE, **settings)
    raw = network if isinstance(network, RawModel) else load_live(options, lambda: network)
    return GivenRecognizer(raw, options, channels=3, answers="logits", classes=4).eval()


class Outside(nn.Module):
    """A user's classifier, whose `view` fails on channels-last maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.last = nn.Linear(8 * 30 * 30, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.last(self.norm(self.conv(x)).view(-1, 8 * 30 * 30))}


class NoBfloat16(Outside):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(self.conv(x))
        if y.dtype != torch.float32:
            raise RuntimeError("this needs float32")
        return {"logits": self.last(y.flatten(1))}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_given_module_is_folded_and_its_owner_keeps_the_original(precision: Precision) -> None:
    network = lively(Outside())
    victim = given(network)
    mine = compiled(victim, precision)
    exact = precision == "fp32"
    before = victim(pictures())
    torch.testing.assert_close(
        mine(pictures()), before, rtol=1e-5 if exact else 0.05, atol=1e-5 if exact else 0.05
    )
    assert exact or not torch.equal(mine(pictures()), before)
    assert calls_of_norms(mine, pictures()) == 0
    assert calls_of_norms(victim, pictures()) == 1
    assert compiled(victim, precision) is mine


def test_a_given_module_that_cannot_run_in_bfloat16_runs_in_float32() -> None:
    victim = given(lively(NoBfloat16()))
    torch.testing.assert_close(compiled(victim, "bf16")(pictures()), victim(pictures()))


def test_functions_and_converted_models_run_as_they_are() -> None:
    raw = RawModel(lambda x: x.flatten(1)[:, :4], name="model = f", differentiable=False)
    victim = given(raw)
    assert compiled(victim, "bf16") is victim


def test_a_copy_lives_as_long_as_its_network() -> None:
    held = module_under_test._compiled
    before = len(held)
    network: nn.Module | None = lively(Chain())
    assert network is not None
    assert compiled(network) is compiled(network)
    assert compiled(network) is not compiled(network, "bf16")
    assert len(held) == before + 1
    del network
    assert len(held) == before


@pytest.mark.parametrize("name", ["ir50", "small_resnet", "torchvision", "vgg16"])
def test_in_bfloat16_scores_and_gradients_are_float32_and_close(name: str) -> None:
    network = recognizer(name)
    mine = cast(Recognizer, compiled(network, "bf16"))
    assert isinstance(mine.backbone, InBfloat16)
    assert not isinstance(network.backbone, InBfloat16)
    y_NK, g_NCHW = with_gradient(mine.log_scores, pictures())
    assert y_NK.dtype == g_NCHW.dtype == torch.float32
    torch.testing.assert_close(y_NK.exp().sum(1), torch.ones(5), rtol=1e-6, atol=1e-6)
    plain_NK, _ = with_gradient(network.log_scores, pictures())
    assert 0 < float((y_NK - plain_NK).abs().max()) < 0.05 * float(plain_NK.abs().max())


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_in_bfloat16_pictures_are_float32_and_close(name: str) -> None:
    plain = generator(name)
    prior = BatchInvariantPrior(cast(Generator, compiled(plain, "bf16")), "bf16")
    x_NCHW, g_ND = with_gradient(prior, latents(plain))
    assert x_NCHW.dtype == g_ND.dtype == torch.float32
    exact_NCHW, _ = with_gradient(plain, latents(plain))
    torch.testing.assert_close(x_NCHW, exact_NCHW, rtol=0, atol=0.02)
    stays = not GENERATORS[name].bf16_on_cpu
    assert stays == torch.equal(x_NCHW, exact_NCHW)
    if (z_ND := prior.encode(pictures())) is not None:
        assert z_ND.dtype == torch.float32
    if "critic" in GENERATORS[name].offers:
        assert prior.critic(pictures()).dtype == torch.float32


@pytest.mark.parametrize("count", [1, 3, 7, 64])
@pytest.mark.parametrize("name", ["ir50", "small_resnet", "vgg16"])
def test_folded_channels_last_networks_give_a_row_the_same_bits(name: str, count: int) -> None:
    model = BatchInvariantModel(Undefended(compiled(recognizer(name))))
    x_NCHW = pictures(64)
    whole = with_gradient(lambda x: model.log_scores(x)[:, 3:4], x_NCHW)
    parts = [
        with_gradient(lambda x: model.log_scores(x)[:, 3:4], part) for part in x_NCHW.split(count)
    ]
    for i in range(2):
        assert torch.equal(torch.cat([part[i] for part in parts]), whole[i])


@pytest.mark.parametrize("count", [1, 3, 7, 64])
@pytest.mark.parametrize("name", ["vae", "wgan_gp", "ked_gan", "style_gan"])
def test_folded_channels_last_generators_give_a_row_the_same_bits(name: str, count: int) -> None:
    made = cast(Generator, compiled(generator(name)))
    prior, z_ND = BatchInvariantPrior(made), latents(made, 64)
    whole = with_gradient(prior, z_ND)
    parts = [with_gradient(prior, part) for part in z_ND.split(count)]
    for i in range(2):
        assert torch.equal(torch.cat([part[i] for part in parts]), whole[i])


def test_evaluators_in_float32_rank_as_unfolded_ones() -> None:
    network = recognizer("small_resnet")
    order, folded = (n(pictures(64)).argsort(1) for n in (network, compiled(network)))
    assert torch.equal(order, folded)


def names(session: Any) -> list[str]:
    return [cell.id for cell in session.plan.cells]


def test_rows_of_bf16_are_other_rows_and_networks_are_the_same(tmp_path: Any) -> None:
    plain, half = (
        tiny.session(tmp_path, **{"runtime.precision": word}) for word in ("fp32", "bf16")
    )
    assert not set(names(plain)) & set(names(half))
    assert [spec.key for spec in plain.plan.specs] == [spec.key for spec in half.plan.specs]
    assert (plain.plan.precision, half.plan.precision) == ("fp32", "bf16")


@pytest.mark.parametrize("chip", ["fp32", "bf16"])
def test_auto_is_the_chips_and_continues_what_is_stored(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, chip: Precision
) -> None:
    monkeypatch.setattr("inversionlab.pipeline.session.chip_precision", lambda runtime: chip)
    assert tiny.session(tmp_path, **{"runtime.precision": "auto"}).plan.precision == chip
    other = "bf16" if chip == "fp32" else "fp32"
    begun = tiny.session(tmp_path, **{"runtime.precision": other})
    (null, *_), attacked = begun.plan.cells, begun.plan.cells[-1]
    store(begun, null.id)
    assert tiny.session(tmp_path, **{"runtime.precision": "auto"}).plan.precision == chip
    store(begun, attacked.id)
    assert tiny.session(tmp_path, **{"runtime.precision": "auto"}).plan.precision == other
    assert tiny.session(tmp_path, **{"runtime.precision": chip}).plan.precision == chip


@pytest.mark.parametrize("chip", ["fp32", "bf16"])
def test_auto_continues_what_fewer_evaluators_have_judged(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, chip: Precision
) -> None:
    monkeypatch.setattr("inversionlab.pipeline.session.chip_precision", lambda runtime: chip)
    other = "bf16" if chip == "fp32" else "fp32"
    judge = tiny.RECIPE["evaluators"][1]
    begun = tiny.session(tmp_path, **{"runtime.precision": other, "evaluators": [judge]})
    store(begun, begun.plan.cells[-1].id)
    assert tiny.session(tmp_path, **{"runtime.precision": "auto"}).plan.precision == other


def store(session: Any, cell: str) -> None:
    session.store.write_shard(cell, [{"cell": cell, "target": 0, "repeat": 0}])


@pytest.mark.parametrize(
    ("has", "means"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx512_f": True}, "fp32")],
)
def test_what_auto_means_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], means: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert chip_precision(RuntimeSettings(attack_gpu="never")) == means
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert chip_precision(RuntimeSettings(attack_gpu="never")) == "fp32"


def test_a_wrong_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"runtime.precision.*fp16.*'auto', 'fp32' or 'bf16'"):
        tiny.experiment(**{"runtime.precision": "fp16"})


def test_a_worker_attacks_in_bf16_and_measures_in_fp32(tmp_path: Any) -> None:
    session = tiny.session(tmp_path, **{"runtime.precision": "bf16"})
    tiny.train_all(session)
    builder, x_NCHW = session.builder, torch.rand(4, 1, 16, 16)
    defense = session.experiment.defense
    half, exact, plain = (
        made.log_scores(x_NCHW)
        for made in (
            builder.attacked(defense),
            builder.attacked(defense, "fp32"),
            builder.protected(defense),
        )
    )
    torch.testing.assert_close(exact, plain, rtol=1e-5, atol=1e-5)
    assert half.dtype == torch.float32
    assert 1e-5 < float((half - plain).abs().max()) < 0.5
    (cell,) = [c for c in session.plan.cells if c.attack.name == "latent_white_box"][:1]
    context = builder.attacker_context(cell)
    assert isinstance(context.generator, BatchInvariantPrior)
    assert context.generator.precision == "bf16"
    assert ATTACKS[cell.attack.name].view is not None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["ir50", "small_resnet"])
def test_on_a_gpu_bfloat16_is_close_to_float32(name: str) -> None:
    network = recognizer(name).cuda()
    x_NCHW = pictures().cuda().requires_grad_(True)
    mine = cast(Recognizer, compiled(network, "bf16"))
    y_NK, plain_NK = mine.log_scores(x_NCHW), network.log_scores(x_NCHW)
    (g_NCHW,) = torch.autograd.grad(y_NK[:, 3].sum(), x_NCHW)
    assert y_NK.dtype == g_NCHW.dtype == torch.float32
    assert bool(g_NCHW.isfinite().all())
    assert float((y_NK - plain_NK).abs().max()) < 0.05 * float(plain_NK.abs().max())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_generators_run_in_bfloat16() -> None:
    plain = cast(Generator, generator("vae").cuda())
    prior = BatchInvariantPrior(cast(Generator, compiled(plain, "bf16")), "bf16")
    z_ND = latents(plain).cuda()
    assert prior(z_ND).dtype == torch.float32
    torch.testing.assert_close(prior(z_ND), plain(z_ND), rtol=0, atol=0.02)
