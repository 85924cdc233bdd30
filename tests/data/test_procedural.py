import pytest
import torch
from torch.nn import functional

from inversionlab import data
from inversionlab.core.settings import ConfigError, validate
from inversionlab.data.base import Pictures
from inversionlab.data.procedural import DRAWING, Procedural, ProceduralSettings
from inversionlab.data.procedural_scene import oval


def draw(**changes: object) -> Pictures:
    base = {"name": "procedural", "people": 4, "pictures_per_person": 3, "image_size": 32}
    settings = validate(ProceduralSettings, base | changes, origin="test")
    return Procedural(settings).load()


def distances(x_NCHW: torch.Tensor) -> torch.Tensor:
    flat_ND = x_NCHW.float().flatten(1) / 255
    return torch.cdist(flat_ND, flat_ND) / flat_ND.shape[1] ** 0.5


def test_shapes_names_and_order() -> None:
    pictures = draw(people=3, pictures_per_person=2, image_size=16)
    assert pictures.images_NCHW.shape == (6, 3, 16, 16)
    assert pictures.images_NCHW.dtype == torch.uint8
    assert pictures.person_N.tolist() == [0, 0, 1, 1, 2, 2]
    assert pictures.people == ("f0000", "f0001", "f0002")
    assert pictures.skipped == ()


def test_same_settings_same_pictures_and_another_seed_other_people() -> None:
    assert torch.equal(draw().images_NCHW, draw().images_NCHW)
    assert not torch.equal(draw().images_NCHW, draw(seed=1).images_NCHW)


def test_a_picture_does_not_depend_on_how_many_there_are() -> None:
    few, many = draw(people=3, pictures_per_person=2), draw(people=9, pictures_per_person=5)
    many_PJCHW = many.images_NCHW.unflatten(0, (9, 5))
    few_PJCHW = few.images_NCHW.unflatten(0, (3, 2))
    assert torch.equal(few_PJCHW, many_PJCHW[:3, :2])


def test_chunks_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw().images_NCHW
    monkeypatch.setattr("inversionlab.data.procedural._CHUNK_PIXELS", 1)
    assert torch.equal(whole, draw().images_NCHW)


@pytest.mark.parametrize(("large", "small"), [(64, 32), (128, 64), (96, 48), (64, 16)])
def test_a_large_picture_made_small_is_the_small_picture(large: int, small: int) -> None:
    big = draw(image_size=large, noise=0.0).images_NCHW.float() / 255
    little = draw(image_size=small, noise=0.0).images_NCHW.float() / 255
    off = (functional.avg_pool2d(big, large // small) - little).abs()
    assert off.mean() < 0.005
    # Far closer than two pictures of one person are.
    assert off.pow(2).mean().sqrt() < 0.1 * distances(little[:3] * 255)[0, 1:].min()


def test_pictures_of_a_person_are_closer_than_pictures_of_two() -> None:
    pictures = draw(people=20, pictures_per_person=6, channels=1)
    d_NN = distances(pictures.images_NCHW)
    same_NN = pictures.person_N[:, None] == pictures.person_N
    others_NN = ~torch.eye(len(d_NN), dtype=torch.bool)
    assert d_NN[same_NN & others_NN].mean() < 0.9 * d_NN[~same_NN].mean()


def test_people_are_told_apart_by_their_mean_picture() -> None:
    pictures = draw(people=20, pictures_per_person=12)
    x_PJD = pictures.images_NCHW.float().flatten(1).unflatten(0, (20, 12))
    mean_PD = x_PJD[:, :8].mean(1)
    nearest = torch.cdist(x_PJD[:, 8:].flatten(0, 1), mean_PD).argmin(1)
    hits = (nearest == torch.arange(20).repeat_interleave(4)).float().mean()
    assert hits > 0.25  # chance is 0.05


def test_variation_sets_how_much_pictures_differ() -> None:
    def spread(variation: float) -> float:
        x_NCHW = draw(variation=variation, noise=0.0).images_NCHW.float().unflatten(0, (4, 3))
        return float(x_NCHW.std(1).mean())

    assert spread(0.0) == 0.0
    assert 0.0 < spread(0.3) < spread(1.0) < spread(1.5)


def test_noise_has_the_standard_deviation_asked_for() -> None:
    clean = draw(noise=0.0).images_NCHW.float()
    noisy = draw(noise=0.1).images_NCHW.float()
    inner = (clean > 90) & (clean < 165)  # four deviations from the ends of the range: none cut off
    assert float((noisy - clean)[inner].std()) / 255 == pytest.approx(0.1, rel=0.1)


def test_gray_is_the_luma_of_the_colours() -> None:
    rgb = draw(noise=0.0).images_NCHW.float()
    gray = draw(noise=0.0, channels=1).images_NCHW.float()
    luma = 0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2]
    assert gray.shape == (12, 1, 32, 32)
    assert (gray[:, 0] - luma).abs().max() <= 1.0


@pytest.mark.parametrize("size", [16, 17, 512])
def test_every_size_is_drawn(size: int) -> None:
    pictures = draw(people=2, pictures_per_person=1, image_size=size)
    assert pictures.images_NCHW.shape == (2, 3, size, size)
    assert pictures.images_NCHW.float().std() > 20


def test_the_widest_variation_makes_no_broken_numbers() -> None:
    # NaN would become 0 in all channels of whole areas; the darkest a background gets is 5 %.
    pictures = draw(people=40, pictures_per_person=4, variation=1.5, noise=0.0)
    black_N = (pictures.images_NCHW == 0).all(1).flatten(1).float().mean(1)
    assert black_N.max() < 0.3


def test_fingerprint_changes_with_each_setting() -> None:
    settings = ProceduralSettings()
    changed = {"people": 5, "pictures_per_person": 2, "seed": 3, "variation": 0.5, "noise": 0.0}
    changed |= {"image_size": 48, "channels": 1}
    prints = [Procedural(settings).fingerprint()]
    for key, value in changed.items():
        prints.append(Procedural(settings.model_copy(update={key: value})).fingerprint())
    assert len(set(prints)) == len(changed) + 1
    assert Procedural(ProceduralSettings()).fingerprint() == prints[0]


def test_the_drawing_number_counts_changes_of_the_drawing() -> None:
    """Fails when the faces alter: raise `DRAWING` then, and put the new means here."""
    x_NCHW = draw(people=6, pictures_per_person=1, noise=0.0, variation=0.0).images_NCHW
    mean_N = x_NCHW.float().mean((1, 2, 3)).tolist()
    expected = [143.05, 143.90, 111.66, 88.33, 168.90, 82.06]
    assert DRAWING == 1
    assert mean_N == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("people", 1, "greater than or equal to 2"),
        ("people", 10_001, "less than or equal to 10000"),
        ("pictures_per_person", 0, "greater than or equal to 1"),
        ("variation", 1.6, "less than or equal to 1.5"),
        ("noise", -0.1, "greater than or equal to 0"),
        ("channels", 2, "1 or 3"),
        ("peoples", 3, "did you mean `people`"),
    ],
)
def test_bad_settings_are_named(key: str, value: object, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        draw(**{key: value})
    assert key in str(caught.value)
    assert told in str(caught.value)


def test_the_room_knows_it_by_name() -> None:
    assert isinstance(data.build(ProceduralSettings(people=2)), Procedural)
    published = {"celeba", "vggface2", "facescrub", "mnist", "qmnist"}
    assert set(data.DATASETS) == published | {"procedural", "folder", "parquet", "tar"}
    assert all(
        cls.Settings.model_fields["name"].default == key for key, cls in data.DATASETS.items()
    )


def test_oval_is_a_distance_on_its_axes() -> None:
    # A circle of radius 2: the distance is exact. On an ellipse's axes it is right to first order.
    x = torch.tensor([0.5, 1.0, 2.0, 3.0, 5.0])
    zero = torch.zeros_like(x)
    assert torch.allclose(oval(x, zero, 2.0, 2.0), x - 2, atol=1e-2)
    near = torch.tensor([1.95, 2.05])
    for power in (2.0, torch.tensor(2.0), torch.tensor(3.5)):
        assert torch.allclose(oval(near, near * 0, 2.0, 1.0, power), near - 2, atol=5e-3)
