"""Kotsuji & Nakamura 2025: the dummy recognizer, over its alpha."""

from inversionlab.papers.finder import Finder
from inversionlab.papers.finders import Accuracy, OfMeasure, Success
from inversionlab.papers.kotsuji_future import BY_GENERATOR, BY_VICTIM
from inversionlab.papers.paper import Claim, Paper, Pictures, Table, grid

ALPHAS = tuple(round(0.01 * i, 2) for i in range(101))
"""0 to 1 by 0.01; 1 is the undefended model, 0 the dummy alone."""
PAPERS_ATTACK, OURS = "published", "latent_white_box"
"""Titles of the attack with the paper's start and steps, and of it as it is now."""
ACCURACY, SUCCESS, ALL = "accuracy", "success", "all people"
FIGURE_6 = (1.0, 0.8, 0.6, 0.4, 0.2)
"""Our choice: the paper's text names 0.2 alone."""


def _model(alpha: float) -> tuple[str, float | None]:
    """The model at an alpha as the run holds it: at 1 the mixture is the undefended model."""
    return ("none", None) if alpha == 1 else ("dummy_recognizer", alpha)


def _row(alpha: float) -> tuple[str, list[tuple[str, Finder | str]]]:
    model, point = _model(alpha)
    cells: list[tuple[str, Finder | str]] = []
    for recipe, note in (("fig5", ""), ("flattened", ", temperature 3")):
        cells += [
            (f"{ACCURACY}{note}", Accuracy(recipe, model, point=point, people="targets")),
            (f"{ACCURACY}, {ALL}{note}", Accuracy(recipe, model, point=point)),
            (f"{SUCCESS}{note}", Success(recipe, model, PAPERS_ATTACK, point=point, top=5)),
            (
                f"{SUCCESS}, today’s attack{note}",
                Success(recipe, model, OURS, point=point, top=5),
            ),
            (
                f"{SUCCESS}, today’s attack, by SFace{note}",
                Success(recipe, model, OURS, "sface", point=point, top=5),
            ),
        ]
    return f"alpha = {alpha:g}", cells


CHOSEN, BARE = "alpha = 0.25", "alpha = 1"

FIG5 = Table(
    key="fig5",
    title="Fig. 5: success of model inversion and accuracy against alpha",
    cells=grid([_row(alpha) for alpha in ALPHAS]),
    claims=(
        Claim(
            "At alpha = 0.25 the attack succeeds less often than undefended",
            (CHOSEN, SUCCESS),
            (BARE, SUCCESS),
        ),
        Claim(
            "At alpha = 0.25 at most one point of accuracy is lost (the paper: 95.8 % to above 95 %)",
            (BARE, ACCURACY),
            (CHOSEN, ACCURACY),
            slack=0.01,
        ),
        Claim(
            "Below alpha = 0.7 success drops: at 0.5 it is lower than undefended",
            ("alpha = 0.5", SUCCESS),
            (BARE, SUCCESS),
        ),
        Claim(
            "The same at alpha = 0.25 against today’s attack, which starts from the best of a pool",
            (CHOSEN, f"{SUCCESS}, today’s attack"),
            (BARE, f"{SUCCESS}, today’s attack"),
            ours=True,
        ),
        Claim(
            "The same by SFace, an embedding trained elsewhere",
            (CHOSEN, f"{SUCCESS}, today’s attack, by SFace"),
            (BARE, f"{SUCCESS}, today’s attack, by SFace"),
            ours=True,
        ),
        Claim(
            "On the pictures of all people, too, at most one point is lost at alpha = 0.25",
            (BARE, f"{ACCURACY}, {ALL}"),
            (CHOSEN, f"{ACCURACY}, {ALL}"),
            slack=0.01,
            ours=True,
        ),
    ),
    drawn="alpha",
    every=10,
    stand_in="LFW at 64x64 stands in for VGGFace2 (victim, evaluator) and for CelebA (the attacker’s pictures).",
    differs=(
        "Success is top-5 by an evaluator that shares only the targets with the victim, as in the paper. SFace, "
        "an embedding trained elsewhere, chooses among the victim’s people; it is asked at `small`.",
        "Temperature 1 is the paper’s; 3, our extension, flattens the dummy’s answers.",
        "The attacker’s generator is a VAE; the paper’s is that of Khosravy 2022, whose GAN it does not describe. "
        "`success` has the start and the steps that Yoshimura gives for the same attack; the paper gives none.",
        "The accuracy is of the targets’ test pictures, as in the paper, which has ten of each; ours has fewer.",
        "At the scale `small` the victim is a residual network; at `paper` it is Khosravy’s.",
    ),
)

FIG6 = Table(
    key="fig6",
    title="Fig. 6: reconstructions over alpha, beside real and synthetic faces",
    pictures=(
        Pictures(
            "fig5",
            tuple((f"alpha = {a:g}", PAPERS_ATTACK, *_model(a)) for a in FIGURE_6),
            synthetic=True,
        ),
    ),
    differs=("The pictures are on the page only.",),
)

FID = Table(
    key="fid",
    title="§5.1: quality of the defender’s GAN",
    cells=grid(
        [
            (
                "the defender's GAN",
                [
                    (
                        "FID",
                        OfMeasure(
                            "fig5",
                            of="generator_distance",
                            key="person_disjoint",
                            own_scale=True,
                        ),
                    )
                ],
            )
        ]
    ),
    stand_in="LFW at 64x64 stands in for VGGFace2.",
    differs=(
        "Ours is the Fréchet distance in the features of the person-disjoint evaluator, the paper’s in "
        "Inception’s, whose weights are not at hand: the two numbers do not compare, and it has no interval.",
    ),
)

ENDS = (
    (
        "R_dmy, temperature 1",
        "real",
        "synthetic",
        "The dummy’s score is higher at its synthetic face than at a real one",
    ),
    (
        "R_T, temperature 1",
        "synthetic",
        "real",
        "The victim’s score is higher at a real face than at the synthetic one",
    ),
    (
        "R' (0.25), temperature 1",
        "real",
        "synthetic",
        "The mixture’s score is higher at the synthetic face than at a real one",
    ),
)
"""Row, the face of the lower score, that of the higher one, and the claim."""
PEAK = "highest nearer the synthetic face"

FIG3 = Table(
    key="fig3",
    title="Fig. 3: the target’s score between a real and a synthetic face",
    cells=grid(
        [
            (
                f"{name}, {note}",
                [
                    (
                        f"at the {end} face",
                        OfMeasure(recipe, of="score_line", key=f"{model} {end}", is_share=True),
                    )
                    for end in ("real", "synthetic")
                ]
                + [
                    (
                        PEAK,
                        OfMeasure(recipe, of="score_line", key=f"{model} peak", is_share=True),
                    )
                ],
            )
            for recipe, note in (("fig5", "temperature 1"), ("flattened", "temperature 3"))
            for name, model in (("R_T", "victim"), ("R_dmy", "dummy"), ("R' (0.25)", "mixture"))
        ]
    ),
    claims=(
        *(
            Claim(text, (row, f"at the {smaller} face"), (row, f"at the {larger} face"))
            for row, smaller, larger, text in ENDS
        ),
        Claim(
            "The highest score is nearer the synthetic face for more people with the mixture than with the victim",
            ("R_T, temperature 1", PEAK),
            ("R' (0.25), temperature 1", PEAK),
        ),
    ),
    differs=(
        "The paper has a sketch without figures. Ours goes straight from a training picture of each target to its "
        "synthetic face; the unit of the intervals is the person.",
        "The paper expects R_dmy of about 1/n at a real face.",
    ),
)

KOTSUJI = Paper(
    name="kotsuji",
    title="Kotsuji & Nakamura 2025: the dummy recognizer",
    cites="Y. Kotsuji and K. Nakamura, “Defense Against Model Inversion Attacks Using a Dummy Recognition Model "
    "Trained with Synthetic Samples”, 2025",
    tables=(FIG3, FIG5, FIG6, FID, BY_GENERATOR, BY_VICTIM),
    about=(
        "The paper prints four figures of Fig. 5: success 80 % and accuracy 95.8 % at alpha = 1, at most 27 % and "
        "more than 95 % at alpha = 0.25. Success is of 81 tries at 27 people; the interval counts the people.",
        "It gives neither m, nor the stop of the attack, nor the attacker’s start.",
    ),
)
