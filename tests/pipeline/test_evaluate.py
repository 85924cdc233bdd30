from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.data.labelled import Labelled
from inversionlab.data.splits import Splits
from inversionlab.given.raw_model import RawModel
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import GivenModelSettings
from inversionlab.given.sface import SFACE_SETTINGS
from inversionlab.pipeline.evaluate import (
    LOG_FLOOR,
    Evaluator,
    bounded,
    features,
    gallery,
    held_out,
    mean_winning_score,
    recognition,
    utility,
    verdicts,
)
from inversionlab.pipeline.given_facts import GivenFacts
from inversionlab.pipeline.given_specs import GivenSpec
from inversionlab.pipeline.recognizer_specs import PROTOCOLS, RecognizerData
from tests.toys import CPU


class Reader(nn.Module):
    """Its feature is the picture's four pixels; its logits are 10 times the feature."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(10 * torch.eye(4))

    def features(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.flatten(1)


def pixels(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(1, 1, 2, 2)


def test_rank_score_and_distance_by_hand() -> None:
    # Target 7 is the evaluator's class 2. The picture's pixels are 1, 0.8, 0.4, 0.
    picture = pixels(255, 204, 102, 0)
    private = {7: torch.tensor([[1.0, 0.8, 0.4, 1.0], [1.0, 0.8, 0.4, 0.5]])}
    evaluator = Evaluator("j", Reader(), {7: 2}, private)  # type: ignore[arg-type]
    ((said,),) = verdicts([evaluator], picture, [7], CPU)
    assert said["rank"] == 3
    weights = [math.exp(v) for v in (10, 8, 4, 0)]
    assert said["score"] == pytest.approx(weights[2] / sum(weights), rel=1e-4)
    assert said["nearest"] == pytest.approx(0.5)
    assert said["feature"] == pytest.approx([1.0, 0.8, 0.4, 0.0])


def test_the_nearest_identity_decides_by_angle() -> None:
    # Class 0's pictures point to (1, 0) and (0.6, 0.8): their mean direction is (2, 1) / sqrt(5).
    feature_ND = torch.tensor([[5.0, 0, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 0, 2.0]])
    people_KD = gallery(feature_ND, torch.tensor([0, 0, 1]), classes=2)
    root = math.sqrt(5)
    expected = torch.tensor([[2 / root, 1 / root, 0, 0], [0, 0, 0, 1.0]])
    torch.testing.assert_close(people_KD, expected)
    # The picture's feature is (1, 0.8, 0.4, 0): far from class 1 whatever the head would say.
    evaluator = Evaluator("j", Reader(), {0: 0, 1: 1}, {0: feature_ND, 1: feature_ND}, people_KD)  # type: ignore[arg-type]
    said = verdicts([evaluator], pixels(255, 204, 102, 0).repeat(2, 1, 1, 1), [0, 1], CPU)
    assert [row[0]["rank"] for row in said] == [1, 2]


def test_real_pictures_are_judged_as_reconstructions_are() -> None:
    # A picture's pixels are its feature; class 1's second picture looks like class 0.
    pictures = torch.cat([pixels(255, 0, 0, 0), pixels(0, 255, 0, 0), pixels(204, 153, 0, 0)])
    test = Labelled(pictures, torch.tensor([0, 1, 1]))
    by_head = held_out(Evaluator("j", Reader(), {}, {}), test, CPU)  # type: ignore[arg-type]
    assert by_head.correct_N.tolist() == [True, True, False]
    assert by_head.rank_N.tolist() == [1, 1, 2]
    assert (by_head.people, bool(by_head.similarity_N.isnan().all())) == (4, True)
    # A gallery of three people, of whom one has no pictures.
    known_KD = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 0]])
    by_gallery = held_out(Evaluator("j", Reader(), {}, {}, known_KD), test, CPU)  # type: ignore[arg-type]
    assert by_gallery.rank_N.tolist() == [1, 1, 2]
    assert by_gallery.people == 2
    torch.testing.assert_close(by_gallery.similarity_N, torch.tensor([1.0, 1.0, 0.6]))
    nobody = held_out(Evaluator("j", Reader(), {}, {}), Labelled(pictures[:0], torch.zeros(0)), CPU)  # type: ignore[arg-type]
    assert len(nobody.rank_N) == 0


def test_recognition_counts_winners() -> None:
    test = Labelled(torch.cat([pixels(255, 0, 0, 0), pixels(0, 255, 0, 0)]), torch.tensor([0, 0]))
    seen = recognition(lambda x: x.flatten(1), test, CPU)
    assert seen.tolist() == [True, False]


def test_distortion_by_hand() -> None:
    # 300 pictures, so that there is more than one chunk. The victim says (1/2, 1/4, 1/4, 0), the released
    # model (1/4, 1/4, 1/2, 0): a winner less, 1/4 + 1/4 apart in L1, ln 2 twice among 4 logarithms.
    test = Labelled(torch.zeros(300, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 2]).repeat(150))
    bare, released = (torch.tensor(p).log() for p in ([0.5, 0.25, 0.25, 0], [0.25, 0.25, 0.5, 0]))
    used = utility(
        lambda x: released.repeat(len(x), 1), lambda x: bare.repeat(len(x), 1), test, CPU
    )
    assert used.correct_N.tolist() == [False, True] * 150
    assert used.distortion == pytest.approx(0.5)
    assert used.log_distortion == pytest.approx(2 * math.log(2) / 4)
    # A score of 0 instead of 1/4 counts as e^-50, not as infinity.
    hard = torch.tensor([0.5, 0.5, 0, 0]).log()
    used = utility(lambda x: hard.repeat(len(x), 1), lambda x: bare.repeat(len(x), 1), test, CPU)
    assert used.log_distortion == pytest.approx((math.log(2) - LOG_FLOOR + math.log(0.25)) / 4)


def test_others_who_are_taken_for_a_label_by_hand() -> None:
    # A picture's pixels are its scores. Class 0's second picture is taken for class 1.
    scores = lambda x_NCHW: x_NCHW.flatten(1).log()  # noqa: E731
    test = Labelled(
        torch.cat([pixels(200, 55, 0, 0), pixels(55, 200, 0, 0), pixels(0, 250, 5, 0)]),
        torch.tensor([0, 0, 1]),
    )
    strangers = torch.cat([pixels(210, 45, 0, 0), pixels(100, 100, 55, 0), pixels(0, 0, 255, 0)])
    used = utility(scores, scores, test, CPU, labels=(0, 1), strangers=strangers)
    assert used.correct_N.tolist() == [True, False, True]
    assert (used.others_taken_of, used.others_taken) == ((0, 1), 0.5)
    # The strangers are taken for 0, 0 (the first of equals) and 2; 200 / 255 is what all genuine ones reach.
    assert used.strangers_taken == pytest.approx(2 / 3)
    assert used.strangers_accepted == pytest.approx(2 / 3)
    alone = utility(scores, scores, test, CPU, labels=(1,))
    assert alone.others_taken_of == (1,)
    assert math.isnan(alone.strangers_taken)
    assert math.isnan(alone.strangers_accepted)


def labelled(*classes: int) -> Labelled:
    count = len(classes)
    marks = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).expand(count, 1, 2, 2)
    return Labelled(marks, torch.tensor(classes))


def test_a_person_disjoint_evaluator_shares_only_the_targets() -> None:
    splits = Splits(
        people=("a", "b", "c"),
        train=labelled(0, 0, 1, 2, 2),
        test=labelled(0, 1, 2),
        evaluator_people=("x", "y"),
        evaluator_train=labelled(0, 1, 1),
        evaluator_test=labelled(0, 1),
        decoys=labelled(),
        public_NCHW=torch.zeros(1, 1, 2, 2, dtype=torch.uint8),
        public_person_N=torch.zeros(2, dtype=torch.int64),
        public_people=1,
        notes=(),
    )
    who = PROTOCOLS["person_disjoint"].data("disjoint", splits, (0, 2))
    assert int(who.train.class_N.max()) + 1 == 4
    assert dict(who.class_of) == {0: 0, 2: 1}
    # Pictures 0, 1 (person a), 3, 4 (c), then the evaluator-only 0, 1, 2; nobody of person b.
    assert who.train.images_NCHW[:, 0, 0, 0].tolist() == [0, 1, 3, 4, 0, 1, 2]
    assert who.train.class_N.tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert who.test.class_N.tolist() == [0, 1, 2, 3]
    own = PROTOCOLS["same_people"].data("same", splits, (0, 2))
    assert own.train is splits.train
    assert dict(own.class_of) == {0: 0, 2: 2}


class Log(nn.Module):
    """Its features are the logarithms of the picture's pixels, and its logits are the features."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Identity()

    def features(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.flatten(1).log()


def said_of(target: int, *values: int) -> dict[str, object]:
    """The verdict of `Log` on one picture; the target's own picture has the features 0."""
    evaluator = Evaluator("j", Log(), {target: target}, {target: torch.zeros(1, 4)})  # type: ignore[arg-type]
    ((said,),) = verdicts([evaluator], pixels(*values), [target], CPU)
    return said


def test_a_class_that_an_answer_leaves_out_comes_last() -> None:
    # Labels and largest scores give all others the logarithm of 0. A tie with them is no second place.
    assert said_of(0, 255, 0, 0, 0)["rank"] == 1
    assert said_of(1, 255, 0, 0, 0)["rank"] == 4
    assert said_of(1, 255, 102, 0, 0)["rank"] == 2
    assert said_of(2, 255, 102, 0, 0)["score"] == 0.0


def test_equal_scores_have_the_middle_rank() -> None:
    # An evaluator that tells nobody apart finds nobody: each of four people comes second, not first.
    assert [said_of(target, 64, 64, 64, 64)["rank"] for target in range(4)] == [2] * 4
    assert said_of(0, 100, 100, 50, 5)["rank"] == 1
    assert said_of(2, 100, 50, 50, 50)["rank"] == 3


def test_distances_and_stored_features_of_such_answers_are_finite() -> None:
    said = said_of(0, 255, 0, 0, 0)
    assert said["feature"] == pytest.approx([0, LOG_FLOOR, LOG_FLOOR, LOG_FLOOR])
    assert said["nearest"] == pytest.approx(math.sqrt(3) * -LOG_FLOOR)
    kept = torch.tensor([[-60.0, 3.0, math.nan]])
    torch.testing.assert_close(bounded(kept), kept, equal_nan=True)


def test_a_feature_that_is_no_number_is_no_success() -> None:
    class Broken(Log):
        def features(self, x_NCHW: Tensor) -> Tensor:
            return torch.full((len(x_NCHW), 4), math.nan)

    evaluator = Evaluator("j", Broken(), {1: 1}, {1: torch.zeros(1, 4)})  # type: ignore[arg-type]
    ((said,),) = verdicts([evaluator], pixels(255, 0, 0, 0), [1], CPU)
    assert said["rank"] == 4
    assert math.isnan(said["score"])


def test_people_without_a_gallery_picture_come_after_all_others() -> None:
    feature_ND = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    people_KD = gallery(feature_ND, torch.tensor([0, 2]), classes=4)
    evaluator = Evaluator("j", Reader(), {0: 0, 2: 2}, {0: feature_ND, 2: feature_ND}, people_KD)  # type: ignore[arg-type]
    # The picture points away from class 2, and still class 2 is before those who are not enrolled.
    (first,), (second,) = verdicts(
        [evaluator], torch.cat([pixels(255, 0, 0, 9), pixels(255, 0, 0, 9)]), [0, 2], CPU
    )
    assert (first["rank"], second["rank"]) == (1, 2)
    assert math.isfinite(second["score"])


def test_no_test_picture_is_no_answer() -> None:
    nothing = Labelled(
        torch.zeros(0, 1, 2, 2, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
    )

    def refuse(x_NCHW: Tensor) -> Tensor:
        raise AssertionError("nobody is to be asked")

    assert recognition(refuse, nothing, CPU).tolist() == []
    used = utility(refuse, refuse, nothing, CPU)
    assert (len(used.correct_N), math.isnan(used.distortion)) == (0, True)


def test_how_sure_a_model_is_by_hand() -> None:
    pictures = Labelled(torch.cat([pixels(255, 0, 0, 0), pixels(0, 51, 102, 51)]), torch.zeros(2))
    # Largest scores 1 and 0.4.
    score = mean_winning_score(lambda x: x.flatten(1).log(), pictures, CPU)
    assert score == pytest.approx(0.7, abs=1e-6)


def test_features_of_a_given_embedding_have_length_1() -> None:
    settings = GivenModelSettings(model="m:M", answers="embedding", gallery="private")
    raw = RawModel(nn.Flatten(), name="m", differentiable=True)
    embedding = GivenRecognizer(raw, settings, channels=1, answers="embedding", classes=4)
    picture = pixels(204, 153, 0, 0)  # 0.8 and 0.6 of white
    expected = torch.tensor([[0.8, 0.6, 0, 0]])
    torch.testing.assert_close(features(embedding, picture, CPU), expected)
    torch.testing.assert_close(features(embedding, picture // 3, CPU), expected)
    torch.testing.assert_close(features(Reader(), picture // 3, CPU), expected / 3)  # type: ignore[arg-type]


def test_an_embeddings_gallery_is_held_out_and_its_probes_are_of_enrolled_people() -> None:
    splits = Splits(
        people=("a", "b", "c"),
        # Of b there is one picture, so none is held out.
        train=labelled(0, 0, 0, 0, 0, 1, 2),
        test=labelled(0, 2, 2),
        evaluator_people=(),
        evaluator_train=labelled(),
        evaluator_test=labelled(),
        decoys=labelled(),
        public_NCHW=torch.zeros(1, 1, 2, 2, dtype=torch.uint8),
        public_person_N=torch.zeros(1, dtype=torch.int64),
        public_people=1,
        notes=(),
    )

    def data(*pool: int) -> RecognizerData:
        experiment: Any = None
        facts = GivenFacts("d")
        spec = ("d", 0, "evaluator:sface", "sface", SFACE_SETTINGS, facts, experiment)
        return GivenSpec(*spec, protocol_name="embedding", pool=pool).data(splits)

    judge = data(0, 2)
    assert judge.gallery is splits.test
    assert judge.test.class_N.tolist() == [0, 0, 0, 0, 2], "four of each person at most"
    assert dict(judge.class_of) == {0: 0, 2: 2}
    with pytest.raises(ConfigError, match=r"evaluators \(sface\): `b` has no held-out picture"):
        data(0, 1)
