"""The best of some public pictures."""

from __future__ import annotations

import torch

from inversionlab.attacks.public_look_alike import PublicLookAlike, PublicLookAlikeSettings
from inversionlab.core.views import Scores
from tests import toys


def test_repeat_r_is_the_picture_of_rank_r_and_the_pool_is_asked_about_once() -> None:
    context = toys.context()
    attack, view = (
        PublicLookAlike(PublicLookAlikeSettings(pool=40), context),
        Scores(toys.victim(), 3),
    )
    jobs = toys.jobs([(2, 0), (2, 1), (0, 0)])
    result = attack.run(view, jobs)
    rng = context.shared_stream("public_look_alike", "pool")
    x_PCHW = context.public(torch.randperm(len(context.public_NCHW), generator=rng)[:40])
    score_PK = toys.victim().log_scores(x_PCHW).exp()
    best = [score_PK[:, 2].topk(2).indices, score_PK[:, :1].argmax(0)]
    assert torch.equal(result.images_NCHW, x_PCHW[torch.cat(best)])
    torch.testing.assert_close(result.confidence_N[:2], score_PK[:, 2].topk(2).values)
    assert (view.shared_queries, view.queries.tolist()) == (40, [1, 1, 1])
    assert result.steps_N.tolist() == [0, 0, 0]


def test_fewer_pictures_than_asked_for_are_no_fault() -> None:
    attack = PublicLookAlike(PublicLookAlikeSettings(pool=100_000), toys.context())
    view = Scores(toys.victim(), 1)
    attack.run(view, toys.jobs([(1, 0)]))
    assert view.shared_queries == len(toys.context().public_NCHW)
