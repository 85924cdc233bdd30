"""An embedding with a gallery as the victim: whoever is enrolled is a class; mistakes in the gallery are found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from inversionlab.core.images import to_bytes, to_float
from inversionlab.core.settings import ConfigError
from inversionlab.core.views import Scores, WhiteBox
from inversionlab.defenses.none import NoneSettings
from inversionlab.given.endpoint_answers import Kind
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.pipeline.artifacts import Artifacts
from inversionlab.pipeline.attack import make_attack, run_attack
from inversionlab.pipeline.endpoint import LocalEndpoint, begin, planned_queries
from inversionlab.pipeline.given_specs import GivenSpec
from inversionlab.pipeline.session import Session, open_session, store_given
from inversionlab.pipeline.victim_check import check_victim
from inversionlab.store.storage import Storage
from tests import tiny
from tests.given.embedding_model import PixelEmbedding
from tests.given.outside_model import made_up_people

NAMES = ("ann", "bob", "cleo", "dan", "eve", "fay")
ENROLLED = 3
MODEL = "tests.given.embedding_model:PixelEmbedding"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`gallery` with three pictures of each of six people, `people` with nine others, `public` with strangers."""
    x_NCHW, person_N = made_up_people()
    strangers_NCHW, stranger_N = made_up_people(9, 2)
    for number, name in enumerate(NAMES):
        own_NCHW = x_NCHW[person_N == number]
        write(tmp_path / "gallery" / name, own_NCHW[:ENROLLED])
        write(tmp_path / "people" / name, own_NCHW[ENROLLED:])
    for number in range(6, 9):
        write(tmp_path / "public" / f"s{number}", strangers_NCHW[stranger_N == number])
    return tmp_path


def write(folder: Path, x_NCHW: Tensor) -> None:
    folder.mkdir(parents=True)
    for index, image_CHW in enumerate(to_bytes(x_NCHW)):
        Image.fromarray(image_CHW.permute(1, 2, 0).numpy()).save(folder / f"{index}.png")


def opened(root: Path, victim: dict[str, Any] | None = None, **changed: Any) -> Session:
    pictures = {"name": "folder", "image_size": 16, "channels": 3}
    given = {"model": MODEL, "answers": "embedding", "gallery": str(root / "gallery")}
    experiment = tiny.experiment(
        **{
            "data": {**pictures, "root": str(root / "people")},
            "public_data": {**pictures, "root": str(root / "public")},
            "split": {"private_min_pictures": 2, "evaluator_people": 0},
            "victim": {**given, **(victim or {})},
            "evaluators": tiny.RECIPE["evaluators"][:1],
            "defense": {"name": "none"},
            "attacks": [
                {"name": "latent_white_box", "steps": 3},
                {"name": "label_only", "start_queries": 40, "steps": 2},
            ],
            "sweep": None,
            **changed,
        }
    )
    return begin(experiment, Storage(str(root / "store")))


def lines(session: Session) -> str:
    return "\n".join(check_victim(session))


def victim(session: Session) -> GivenRecognizer:
    model = session.builder.recognizer("victim")
    assert isinstance(model, GivenRecognizer)
    return model


def refused(root: Path, text: str, **changed: Any) -> None:
    with pytest.raises(ConfigError, match=text):
        lines(opened(root, **changed))


def test_its_classes_are_the_enrolled_people_and_its_scores_are_scaled_cosines(
    folders: Path,
) -> None:
    session = opened(folders, {"scale": 5.0})
    said = lines(session)
    assert session.builder.splits.people == NAMES
    assert "recognizes 100.0%" in said
    assert "6 people are enrolled by 18 pictures (3 to 3 each)" in said
    assert "enrolled themselves" not in said
    assert "left out" not in said
    model = victim(session)
    assert model.view is WhiteBox
    assert model.classes == 6
    x_NCHW = to_float(session.builder.splits.test.images_NCHW[:4], tiny.CPU)
    stored_NCHW = to_float(to_bytes(made_up_people()[0]), tiny.CPU)
    known_ND = functional.normalize(PixelEmbedding()(stored_NCHW)).view(6, 12, -1)[:, :ENROLLED]
    means_KD = functional.normalize(known_ND.sum(1))
    cosine_NK = functional.normalize(PixelEmbedding()(x_NCHW)) @ means_KD.T
    expected_NK = (5 * cosine_NK).log_softmax(1)
    torch.testing.assert_close(model.log_scores(x_NCHW), expected_NK, rtol=1e-4, atol=1e-4)


def test_gradients_reach_the_picture_and_attacks_work_on_it(folders: Path) -> None:
    session = opened(folders)
    x_NCHW = torch.full((1, 3, 16, 16), 0.5).requires_grad_()
    victim(session).log_scores(x_NCHW)[0, 2].backward()  # type: ignore[no-untyped-call]
    assert x_NCHW.grad is not None
    assert float(x_NCHW.grad.abs().sum()) > 0
    session = open_session(
        session.spec,
        tiny.CPU,
        load=lambda spec: spec.build(session.builder).state_dict(),
        networks=session.builder.networks_at_hand,
    )
    model = session.builder.protected(NoneSettings())
    for cell in session.plan.work.values():
        if cell.defense is None:
            continue
        attack = make_attack(cell.attack, session.builder.attacker_context(cell))
        attacked = run_attack(attack, model, [(0, 0), (5, 0)])
        assert attacked.result.images_NCHW.shape == (2, 3, 16, 16)
        assert (attacked.queries_N > 0).all()


def test_another_node_restores_it_with_its_gallery_and_without_the_files(folders: Path) -> None:
    session = opened(folders)
    store_given(session)
    shutil.rmtree(folders / "gallery")
    spec = session.plan.spec("victim")
    weights = Artifacts(Storage(str(folders / "store"))).weights(spec)
    again = spec.restore(session.builder, weights)
    x_NCHW = to_float(session.builder.splits.test.images_NCHW[:], tiny.CPU)
    assert torch.equal(again.log_scores(x_NCHW), victim(session).log_scores(x_NCHW))


def test_enrolled_pictures_name_the_network_and_their_folder_does_not(folders: Path) -> None:
    shutil.copytree(folders / "gallery", folders / "copy")
    shutil.copytree(folders / "gallery", folders / "fewer")
    (folders / "fewer" / "ann" / "0.png").unlink()
    names = [
        opened(folders, {"gallery": str(folders / name)}).plan.spec("victim").id
        for name in ("gallery", "copy", "fewer")
    ]
    assert names[0] == names[1] != names[2]


def test_whoever_is_enrolled_without_other_pictures_stays_a_class(folders: Path) -> None:
    shutil.rmtree(folders / "people" / "bob")
    session = opened(folders)
    assert "recognizes 100.0%" in lines(session)
    assert session.builder.splits.people == NAMES
    assert victim(session).classes == 6
    assert NAMES.index("bob") not in session.plan.targets
    assert set(session.builder.splits.train.class_N.tolist()) == {0, 2, 3, 4, 5}


def test_pictures_of_somebody_who_is_not_enrolled_are_refused(folders: Path) -> None:
    shutil.rmtree(folders / "gallery" / "dan")
    refused(
        folders,
        r"data: 1 people are not among the model's classes \(dan\).*enrol them in `victim\.gallery`",
    )


def test_gallery_and_data_without_a_common_person_are_refused(folders: Path) -> None:
    for number, name in enumerate(NAMES):
        (folders / "gallery" / name).rename(folders / "gallery" / f"id{number}")
    refused(
        folders,
        r"none of its 6 people \(ann, bob, cleo, \.\.\.\) is one of the model's 6 classes \(id0, id1, id2, "
        r"\.\.\.\).*the folders of `victim\.gallery`",
    )


def test_two_people_in_each_others_gallery_folders_are_named(folders: Path) -> None:
    gallery = folders / "gallery"
    (gallery / "bob").rename(gallery / "x")
    (gallery / "eve").rename(gallery / "bob")
    (gallery / "x").rename(gallery / "eve")
    refused(folders, "2 people are mixed up.*`bob`.* as `eve`")


def test_names_and_gallery_must_fit(folders: Path) -> None:
    file = folders / "classes.txt"
    file.write_text("\n".join([*NAMES, "zoe"]))
    refused(
        folders,
        "victim.gallery: `zoe` has no enrolled picture; everybody needs one",
        victim={"classes": str(file)},
    )
    file.write_text("\n".join(NAMES[:5]))
    shutil.rmtree(folders / "people" / "fay")
    refused(
        folders,
        "victim.gallery: `fay` is enrolled but not in `victim.classes`",
        victim={"classes": str(file)},
    )


def test_a_file_of_classes_orders_the_people(folders: Path) -> None:
    file = folders / "classes.txt"
    file.write_text("\n".join(reversed(NAMES)))
    session = opened(folders, {"classes": str(file)})
    assert "recognizes 100.0%" in lines(session)
    assert session.builder.splits.people == tuple(reversed(NAMES))


def test_the_enrolled_pictures_as_data_are_noted(folders: Path) -> None:
    session = opened(folders, {"gallery": str(folders / "people")})
    asked = len(session.builder.splits.train) + len(session.builder.splits.test)
    assert (
        f"{asked} of the {asked} pictures are enrolled themselves and recognize themselves, so the accuracy is of "
        "enrolled pictures"
    ) in lines(session)


def test_a_broken_enrolled_picture_is_named(folders: Path) -> None:
    (folders / "gallery" / "ann" / "0.png").write_bytes(b"no picture")
    said = lines(opened(folders))
    assert "6 people are enrolled by 17 pictures (2 to 3 each)" in said
    assert "gallery: 1 files are left out: ann/0.png" in said


def test_the_private_training_pictures_can_be_the_gallery(folders: Path) -> None:
    shutil.rmtree(folders / "gallery")
    session = opened(folders, {"gallery": "private"})
    said = lines(session)
    count = len(session.builder.splits.train)
    assert f"6 people are enrolled by {count} pictures" in said
    assert "recognizes 100.0%" in said
    assert "enrolled themselves" not in said
    assert "data" in session.plan.spec("victim").inputs


def test_enrolled_people_among_the_strangers_are_refused(folders: Path) -> None:
    shutil.copytree(folders / "gallery" / "ann", folders / "public" / "ann")
    refused(folders, r"public_data: shows 1 people whom the model knows \(ann\)")


def test_an_embedding_that_is_blind_is_refused(folders: Path) -> None:
    model = MODEL.replace("PixelEmbedding", "Blind")
    refused(folders, "the same answer|no better than guessing", victim={"model": model})


class CountingService:
    """Stands in for the connection to a service that embeds pictures."""

    kind: Kind | None = None

    def __init__(self) -> None:
        self.seen: set[bytes] = set()

    @property
    def asked(self) -> int:
        """Pictures that were sent; the client sends none twice."""
        return len(self.seen)

    def ask(self, images_NCHW: Tensor) -> Tensor:
        self.seen |= {image.contiguous().numpy().tobytes() for image in images_NCHW}
        return PixelEmbedding()(to_float(images_NCHW, tiny.CPU))


def test_a_plan_asks_a_service_nothing_and_the_audit_enrols_its_people(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = CountingService()
    monkeypatch.setattr(LocalEndpoint, "__call__", lambda self: service)
    endpoint = {"url": "http://127.0.0.1:9/embed", "answer": "embeddings"}
    session = opened(
        folders, {"model": None, "endpoint": endpoint}, attacks=[{"name": "label_only"}]
    )
    planned = "\n".join(planned_queries(session))
    assert "the gallery: 18, to enrol 6 people" in planned
    assert service.asked == 0
    assert "recognizes 100.0%" in lines(session)
    model = victim(session)
    assert model.view is Scores
    assert model.head.gallery_KD is not None
    splits = session.builder.splits
    examples, checked = len(splits.public_NCHW), len(splits.train) + len(splits.test)
    assert service.asked == examples + 18 + checked
    spec = session.plan.spec("victim")
    assert isinstance(spec, GivenSpec)
    assert "gallery" in spec.pack(model)
