"""Khosravy et al. 2021: descent on pixels from a mean face, with the network alone."""

from inversionlab.papers.clone_change import CLONE_CHANGE
from inversionlab.papers.clones import BestClone, BestFigure, BestOfClones, Chooser, Figure
from inversionlab.papers.finder import ANSWERS, NO_MODEL, Finder
from inversionlab.papers.finders import Accuracy, EvaluatorAccuracy, OfMeasure, Success
from inversionlab.papers.paper import Blind, Claim, Paper, Pictures, Table, grid

TARGETS = 5
RANKS = (1, 2, 5, 10, 20, 50)
LSE, INFOMAX, SEED = "pixel_gray_box", "infomax", "pixel_gan_seed"
"""Titles of the attack with the two losses that the paper names, and from a GAN's face, not the mean face."""
RECIPE = "clones"
FIRST, ALL, NULL = "R_E first rank", "all five", "a random public face"
CHANGE = "change from the mean face, of 255"
SFACE = ", by SFace"
KINDS = (("", LSE), (", Infomax", INFOMAX), (", GAN seed", SEED))
FIGURES: tuple[tuple[str, Figure], ...] = (
    ("R_T score", "own"),
    ("R_E score", "score"),
    ("R_E rank", "rank"),
)
CHOICES: tuple[tuple[str, str, Chooser], ...] = (
    ("", LSE, "evaluator"),
    (", Infomax", INFOMAX, "evaluator"),
    (", GAN seed", SEED, "evaluator"),
    (", the attacker’s pick", LSE, "attacker"),
)


def _clone_row(place: int) -> tuple[str, list[tuple[str, Finder | str]]]:
    cells: list[tuple[str, Finder | str]] = []
    for note, attack, chosen in CHOICES:
        for heading, figure in FIGURES:
            best = BestClone(RECIPE, attack=attack, place=place, figure=figure, chosen_by=chosen)
            cells.append((f"{heading}{note}", best))
    return f"ID-{place + 1}", cells


def _best_row(
    name: str, attacks: tuple[tuple[str, str], ...], model: str = "none"
) -> tuple[str, list[tuple[str, Finder | str]]]:
    figures: tuple[tuple[str, BestFigure], ...] = (
        ("R_T score", "own"),
        ("R_E score", "score"),
        (FIRST, "first"),
    )
    cells: list[tuple[str, Finder | str]] = [
        (f"{heading}{note}", BestOfClones(RECIPE, model, attack, figure=figure))
        for note, attack in attacks
        for heading, figure in figures
        # A random face is no try at the model, which was not asked about it.
        if model == "none" or figure != "own"
    ]
    changed = [(note, attack) for note, attack in attacks if attack in (LSE, INFOMAX)]
    cells += [(f"{CHANGE}{note}", OfMeasure(RECIPE, of=CLONE_CHANGE, key=a)) for note, a in changed]
    return name, cells


def _cmc_row(
    name: str, attack: str, place: int | None, model: str = "none", evaluator: str = ""
) -> tuple[str, list[tuple[str, Finder | str]]]:
    return name, [
        (f"rank {top}", Success(RECIPE, model, attack, evaluator, place=place, top=top))
        for top in RANKS
    ]


TABLE2 = Table(
    key="table2",
    title="Table 2: the clone that the evaluator likes best, for each target",
    cells=grid(
        [
            *(_clone_row(place) for place in range(TARGETS)),
            _best_row(ALL, KINDS),
            _best_row(NULL, (("", "random_public"),), NO_MODEL),
        ]
    ),
    claims=(
        Claim(
            "The best clone is recognized, and more often than the best of as many random faces (the paper: it "
            "has the first rank for four of five people; the paper has no random faces)",
            (NULL, FIRST),
            (ALL, FIRST),
        ),
        Claim(
            "The model itself scores the best clones higher than the evaluator does",
            (ALL, "R_E score"),
            (ALL, "R_T score"),
            ours=True,
        ),
        Claim(
            "From a GAN’s face, the best clone has the first rank more often than the best of random faces",
            (NULL, FIRST),
            (ALL, f"{FIRST}, GAN seed"),
            ours=True,
        ),
    ),
    stand_in="LFW at 64x64, enlarged to 128x128, stands in for VGGFace2.",
    differs=(
        "The paper chooses the best of 100 clones by the evaluator, which no attacker has: such a choice shows "
        "what an attack can reach at best. The last columns have the clone that the model itself scores highest.",
        "Columns of the GAN seed start from faces of a GAN that the model scores highest. In the paper that is "
        "other work of the authors, [26] in table 1; its own clones start from the mean of 256 faces.",
        "The change from the mean face is the mean over all pixels of ten clones of each person.",
        "Where there are several victims, the rows of single people are of the first one, and `all five` covers "
        "all victims.",
        "With few people an evaluator’s first rank is easily reached, so ranks do not compare between scales.",
    ),
)

FIG11 = Table(
    key="fig11",
    title="Fig. 11: cumulative match characteristic of the clones, for each target",
    cells=grid(
        [
            *(
                _cmc_row(f"ID-{place + 1}{note}", attack, place)
                for note, attack in KINDS
                for place in range(TARGETS)
            ),
            *(
                row
                for by, evaluator in (("", ""), (SFACE, "sface"))
                for row in (
                    *(
                        _cmc_row(f"{ALL}{note}{by}", attack, None, evaluator=evaluator)
                        for note, attack in KINDS
                    ),
                    _cmc_row(f"{NULL}{by}", "random_public", None, NO_MODEL, evaluator),
                )
            ),
        ]
    ),
    claims=(
        Claim(
            "The clones are recognized more often than random faces, among the first five",
            (NULL, "rank 5"),
            (ALL, "rank 5"),
        ),
        *(
            Claim(
                f"By SFace, an embedding trained elsewhere, {what} are recognized more often than random faces",
                (f"{NULL}{SFACE}", "rank 5"),
                (f"{ALL}{note}{SFACE}", "rank 5"),
                ours=True,
            )
            for note, what in (("", "the clones"), (", GAN seed", "those from a GAN’s face"))
        ),
    ),
    stand_in="LFW at 64x64, enlarged to 128x128, stands in for VGGFace2.",
    differs=(
        "The paper draws the curves and prints no figure of them.",
        "The interval of a row counts the clones of one person, and that of `all five` counts the people.",
        "The evaluator ranks its own people and the targets, SFace the model’s people. SFace is asked at `small`.",
        "Clones from a GAN’s face stop after 500 updates, those from the mean face after 6,000.",
    ),
)

FIG6_10 = Table(
    key="fig6",
    title="Figs. 6 to 10: twenty-five clones of each target",
    pictures=(Pictures(RECIPE, (("clones", LSE, "none", None),), clones=25),),
    differs=("The pictures are on the page only.",),
)

FIG12 = Table(
    key="fig12",
    title="Fig. 12: the clones of Table 2 beside the people",
    pictures=(
        Pictures(
            RECIPE,
            (
                ("least squares, from the mean face", LSE, "none", None),
                ("Infomax, from the mean face", INFOMAX, "none", None),
                ("least squares, from a GAN’s face", SEED, "none", None),
            ),
            best_by_evaluator=True,
        ),
    ),
    differs=("The pictures are on the page only.",),
)

MODELS = Table(
    key="models",
    title="§4.2: the two recognizers",
    cells=grid(
        [
            ("victim", [("accuracy", Accuracy(RECIPE))]),
            ("evaluator", [("accuracy", EvaluatorAccuracy(RECIPE))]),
        ]
    ),
    differs=(
        "The paper does not say how accurate they are.",
        "Ours differ in their last two layers, the second dense one and the classes. The paper’s differ in the "
        "classes alone, as ours do at the scale `paper`.",
    ),
)


def _answers(what: str) -> Finder:
    return OfMeasure(RECIPE, of=ANSWERS, key=f"clones average {what}", is_share=True)


KHOSRAVY = Paper(
    name="khosravy",
    title="Khosravy et al. 2021: model inversion under a gray-box scenario",
    cites="M. Khosravy, K. Nakamura, Y. Hirose, N. Nitta and N. Babaguchi, “Model Inversion Attack: Analysis "
    "under Gray-box Scenario on Deep Learning based Face Recognition System”, KSII TIIS 15(3), 2021",
    blind=Blind("Who are these people?", RECIPE, (("clones", LSE),)),
    tables=(
        MODELS,
        FIG6_10,
        FIG11,
        FIG12,
        TABLE2,
        Table(
            key="table3",
            title="Table 3: clones as people see them",
            cells=grid(
                [
                    (
                        "human observers",
                        [
                            ("naturalness", _answers("natural")),
                            ("similarity", _answers("alike")),
                            ("recognition accuracy", _answers("who")),
                        ],
                    )
                ]
            ),
            differs=(
                "The paper asked more than fifty people. `blind.html` beside this page also asks people, about "
                "one clone for each target. A later call reads the answers.",
                "It does not say what it asked about naturalness; here it is whether a picture looks like a "
                "photograph of a face.",
            ),
        ),
    ),
    about=(
        "The text calls ID-1 and ID-5 the most recognizable by Fig. 11, and prints ID-4 with the highest score of "
        "the evaluator in Table 2.",
        "The loss is “a least square measure … or an Infomax measure”, without a formula for the second; the card "
        "of `pixel_gray_box` has our reading.",
    ),
)
