"""Stage 4: the evaluators' verdicts on the final pictures, and how well a released model recognizes."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inversionlab.core.images import to_float
from inversionlab.core.rows import Images, gathered, join, select
from inversionlab.data.labelled import Labelled
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.metrics import nearest_distance, taken
from inversionlab.recognizers import Recognizer

CHUNK = 256
"""Pictures in a forward pass; it bounds the memory."""
SCALE = 24.0
"""Factor that turns the cosines of a gallery into logits."""
QUERIES = 200
"""The most private pictures that an endpoint is asked about."""
LOG_FLOOR = -50.0
"""Lower log-probabilities count as this: a zero has no logarithm, and would outweigh all other distances."""

LogScores = Callable[[Tensor], Tensor]
"""Log-probabilities (N, K) of pictures (N, C, H, W) in [0, 1] on the device."""


@dataclass(frozen=True)
class Utility:
    """How much use a released model is to its users."""

    correct_N: Tensor
    """bool: whether the class of each test picture has the highest score."""
    distortion: float
    """L1 distance between the released and the undefended probability vectors, mean over pictures: 0 to 2."""
    log_distortion: float
    """The same between log-probabilities, a score: mean over pictures and classes (Wen's, on logits)."""
    others_taken_of: tuple[int, ...] = ()
    """For each protected label the number of other private people's test pictures that are taken for it."""
    others_taken: float = math.nan
    """Their mean; NaN where it is not known."""
    strangers_taken: float = math.nan
    """The share of strangers' pictures that get a protected label."""
    strangers_accepted: float = math.nan
    """The share of these that are accepted where 95 % of the genuine pictures are (`metrics/taken.py`)."""


@dataclass(frozen=True)
class Evaluator:
    """A trained evaluator, with its classes and features of the targets."""

    name: str
    recognizer: Recognizer | GivenRecognizer
    class_of: Mapping[int, int]
    """Its class of each target."""
    private: Mapping[int, Tensor]
    """Features (n, D) of each target's private training pictures, on the CPU."""
    gallery_KD: Tensor | None = None
    """The mean direction of every private person's features, where the nearest person decides."""

    @torch.no_grad()
    def logits(self, feature_ND: Tensor, device: torch.device) -> Tensor:
        """Logits (N, K) over its classes, on the CPU, of features (N, D) on the CPU."""
        if self.gallery_KD is not None:
            cosine_NK = functional.normalize(feature_ND) @ self.gallery_KD.T
            # People without a picture in the gallery are nobody's nearest.
            return (SCALE * cosine_NK).masked_fill((self.gallery_KD == 0).all(1), -torch.inf)
        logit_NK: Tensor = self.recognizer.head(feature_ND.to(device))
        return logit_NK.float().cpu()


@dataclass(frozen=True)
class HeldOut:
    """What an evaluator says of real pictures of people whom it knows."""

    correct_N: Tensor
    """bool: whether the picture's own person has the highest score."""
    rank_N: Tensor
    """int64: the rank of each picture's own person, 1 = best."""
    similarity_N: Tensor
    """The cosine to the own person's gallery; NaN for an evaluator without galleries."""
    people: int
    """Among how many people it chooses."""


@torch.no_grad()
def held_out(evaluator: Evaluator, test: Labelled, device: torch.device) -> HeldOut:
    """An evaluator's verdicts on test pictures, whose class numbers are its own."""
    if not len(test):
        nothing = torch.zeros(0, dtype=torch.int64)
        return HeldOut(nothing.bool(), nothing, nothing.float(), 0)
    feature_ND = features(evaluator.recognizer, test.images_NCHW, device)
    class_N, rank_N = test.class_N, torch.empty(len(test), dtype=torch.int64)
    winner_N, people = torch.empty_like(rank_N), 0
    # The logits of all pictures for thousands of people would be gigabytes.
    for row_B in torch.arange(len(test)).split(CHUNK):
        logit_BK, class_B = evaluator.logits(feature_ND[row_B], device), class_N[row_B]
        rank_N[row_B] = _ranks(logit_BK, logit_BK.gather(1, class_B[:, None]))
        winner_N[row_B] = logit_BK.argmax(1)
        people = logit_BK.shape[1]
    similarity_N = torch.full((len(test),), torch.nan)
    if (known_KD := evaluator.gallery_KD) is not None:
        similarity_N = (functional.normalize(feature_ND) * known_KD[class_N]).sum(1)
        people = int((known_KD != 0).any(1).sum())
    return HeldOut(winner_N == class_N, rank_N, similarity_N, people)


def gallery(feature_ND: Tensor, class_N: Tensor, classes: int) -> Tensor:
    """The mean direction (K, D) of the features (N, D) of each class; zeros for a class without features."""
    sum_KD = torch.zeros(classes, feature_ND.shape[1])
    sum_KD.index_add_(0, class_N, functional.normalize(feature_ND))
    return functional.normalize(sum_KD)


def sample(sources: Sequence[Labelled], count: int) -> Labelled:
    """At most `count` pictures, spread over all people."""
    images_NCHW = join([source.images_NCHW for source in sources])
    class_N = torch.cat([source.class_N for source in sources])
    rows = torch.linspace(0, len(class_N) - 1, min(count, len(class_N))).round().long()
    order_N = class_N.argsort(stable=True)
    chosen = order_N[rows].sort().values
    return Labelled(select(images_NCHW, chosen), class_N[chosen])


@torch.no_grad()
def features(
    recognizer: Recognizer | GivenRecognizer, images_NCHW: Images, device: torch.device
) -> Tensor:
    """Features (N, D), float32 on the CPU, of uint8 pictures.

    A given embedding is compared by angle, so its features have length 1.
    """
    seen = (recognizer.features(to_float(x, device)).float() for x in images_NCHW.split(CHUNK))
    feature_ND = gathered(seen, len(images_NCHW))
    by_angle = isinstance(recognizer, GivenRecognizer) and recognizer.answers == "embedding"
    return functional.normalize(feature_ND) if by_angle else feature_ND


@torch.no_grad()
def verdicts(
    evaluators: Sequence[Evaluator],
    images_NCHW: Tensor,
    targets: Sequence[int],
    device: torch.device,
) -> list[list[dict[str, Any]]]:
    """Every evaluator's verdict on every picture: one list of verdicts per picture.

    `images_NCHW` are uint8 reconstructions, as they are stored, and `targets` the target of each.
    """
    result: list[list[dict[str, Any]]] = [[] for _ in targets]
    for evaluator in evaluators:
        class_N = torch.tensor([evaluator.class_of[t] for t in targets])
        feature_ND = features(evaluator.recognizer, images_NCHW, device)
        logit_NK = evaluator.logits(feature_ND, device)
        score_NK = logit_NK.softmax(1)
        own_N1 = logit_NK.gather(1, class_N[:, None])
        rank_N, near_ND = _ranks(logit_NK, own_N1), bounded(feature_ND)
        for row, target in enumerate(targets):
            own_MD = evaluator.private[target].numpy()
            nearest = nearest_distance(near_ND[row : row + 1].numpy(), own_MD)[0]
            result[row].append(
                {
                    "evaluator": evaluator.name,
                    "rank": int(rank_N[row]),
                    "score": float(score_NK[row, class_N[row]]),
                    "nearest": float(nearest),
                    "feature": near_ND[row].tolist(),
                }
            )
    return result


def bounded(feature_ND: Tensor) -> Tensor:
    """Features between which distances exist: a given classifier's are log-scores, and may be -inf."""
    return feature_ND.nan_to_num(nan=math.nan, posinf=torch.inf, neginf=LOG_FLOOR)


def _ranks(logit_NK: Tensor, own_N1: Tensor) -> Tensor:
    """The rank (N,) of the target's logit among all, 1 = best; of equal logits the target's has the middle rank.

    A target without a score, such as one that an answer of largest scores or of a label leaves out, comes last.
    """
    # A comparison with NaN is false, so NaN counts as better.
    better_N = (~(logit_NK <= own_N1)).sum(1)
    equal_N = (logit_NK == own_N1).sum(1) - 1
    rank_N = better_N + equal_N // 2 + 1
    unknown_N = own_N1.squeeze(1).isnan() | own_N1.squeeze(1).isneginf()
    return rank_N.where(~unknown_N, torch.tensor(logit_NK.shape[1]))


@torch.no_grad()
def mean_winning_score(log_scores: LogScores, pictures: Labelled, device: torch.device) -> float:
    """The mean of the largest score of each picture: how sure the model is, 0 to 1."""
    x_NCHW = to_float(pictures.images_NCHW[:], device)
    return float(log_scores(x_NCHW).max(1).values.exp().mean())


@torch.no_grad()
def recognition(log_scores: LogScores, test: Labelled, device: torch.device) -> Tensor:
    """Whether the class of each test picture has the highest score: bool (N,)."""
    if not len(test):
        return torch.zeros(0, dtype=torch.bool)
    seen = (log_scores(to_float(x, device)).argmax(1) for x in test.images_NCHW.split(CHUNK))
    return gathered(seen, len(test)) == test.class_N


@torch.no_grad()
def utility(
    log_scores: LogScores,
    undefended: LogScores,
    test: Labelled,
    device: torch.device,
    labels: Sequence[int] = (),
    strangers: Images | None = None,
) -> Utility:
    """Compare a released model, `log_scores`, with the undefended victim on every test picture.

    Args:
        log_scores: the released model.
        undefended: the victim.
        test: pictures of the people whom they know.
        device: where both are.
        labels: the protected labels, for which others may be taken.
        strangers: uint8 pictures (M, C, H, W) of people whom they do not know; None: there are none.
    """
    if not len(test):
        return Utility(torch.zeros(0, dtype=torch.bool), math.nan, math.nan)
    score_N, moved, log_moved = torch.empty(len(test), dtype=torch.float64), 0.0, 0.0
    winner_N = torch.empty(len(test), dtype=torch.int64)
    for row_B in torch.arange(len(test)).split(CHUNK):
        x_NCHW = to_float(test.images_NCHW[row_B], device)
        log_y_NK, bare_NK = (ask(x_NCHW).cpu().double() for ask in (log_scores, undefended))
        score_N[row_B], winner_N[row_B] = log_y_NK.max(1)
        moved += float((log_y_NK.exp() - bare_NK.exp()).abs().sum())
        apart_NK = log_y_NK.clamp(min=LOG_FLOOR) - bare_NK.clamp(min=LOG_FLOOR)
        log_moved += float(apart_NK.abs().mean(1).sum())
    wrong = taken.others_taken(winner_N.numpy(), test.class_N.numpy(), labels)
    used = Utility(
        correct_N=winner_N == test.class_N,
        distortion=moved / len(test),
        log_distortion=log_moved / len(test),
        others_taken_of=tuple(wrong),
        others_taken=statistics.fmean(wrong) if wrong else math.nan,
    )
    if strangers is None or not len(strangers):
        return used
    top_M = torch.empty(len(strangers), dtype=torch.float64)
    nearest_M = torch.empty(len(strangers), dtype=torch.int64)
    for row_B in torch.arange(len(strangers)).split(CHUNK):
        asked_BK = log_scores(to_float(strangers[row_B], device))
        top_M[row_B], nearest_M[row_B] = asked_BK.cpu().double().max(1)
    return replace(
        used,
        strangers_taken=taken.strangers_taken(nearest_M.numpy(), labels) if labels else math.nan,
        strangers_accepted=taken.strangers_accepted(score_N.numpy(), top_M.numpy()),
    )


@torch.no_grad()
def milliseconds(log_scores: LogScores, test: Labelled, device: torch.device) -> float:
    """Inference time per picture, in batches of up to 64: the median of 5 calls after a first one."""
    x_NCHW = to_float(test.images_NCHW[:64], device)
    spent = []
    for _ in range(6):
        began = time.perf_counter()
        log_scores(x_NCHW).cpu()
        spent.append(time.perf_counter() - began)
    return 1000 * statistics.median(spent[1:]) / len(x_NCHW)
