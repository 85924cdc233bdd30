"""Yoshimura et al. 2021: model inversion without gradients, beside its twin that has them."""

from inversionlab.papers.finders import Finder, OfMeasure, Success
from inversionlab.papers.paper import Claim, Paper, Pictures, Table, grid

TARGETS = 5
AVERAGE = "average"
ATTACKS = {"WB-MIA": "latent_white_box", "BB-MIA": "latent_black_box"}
ROWS = tuple((name, attack, "none", None) for name, attack in ATTACKS.items())
HUMAN = "It is an answer of nine people to questionnaires, which a program cannot give."


def _row(name: str, attack: str) -> tuple[str, list[tuple[str, Finder | str]]]:
    single: list[tuple[str, Finder | str]] = [
        (f"ID:{place + 1}", Success("table1", attack=attack, place=place))
        for place in range(TARGETS)
    ]
    return name, [*single, (AVERAGE, Success("table1", attack=attack))]


TABLE1 = Table(
    key="table1",
    title="Table I: recognition accuracy of the evaluator on reconstructions",
    cells=grid([_row(name, attack) for name, attack in ATTACKS.items()]),
    claims=(
        Claim(
            "Without gradients as much is found as with them, or at most 10 points less (the paper: 2 less)",
            ("WB-MIA", AVERAGE),
            ("BB-MIA", AVERAGE),
            slack=0.1,
        ),
    ),
    stand_in="LFW at 64x64 in gray stands in for the frontal faces of VGGFace2 in gray.",
    differs=(
        "Success is top-1 by an evaluator that shares only the five targets with the victim.",
        "The interval of a column counts 100 starts at one person, that of the average five people: it says how "
        "far another five people may be.",
        "Victim and evaluator have the same structure, as in the paper, but for its last two layers; the "
        "encoder-decoder of Fig. 6 is not built.",
        "At the scale `small` they are residual networks, and the VAE has no residual blocks.",
    ),
)

FIG7 = Table(
    key="fig7",
    title="Fig. 7: criterion C against the accuracy of the estimated gradient",
    cells=grid(
        [
            (
                "C < 0.1",
                [
                    ("cosine", OfMeasure("table1", of="gradient_estimates", key="lowest")),
                    (
                        "share with a cosine above 0.8",
                        OfMeasure("table1", of="gradient_estimates", key="rule", is_share=True),
                    ),
                ],
            )
        ]
    ),
    stand_in="LFW at 64x64 in gray stands in for VGGFace2.",
    differs=(
        "`cosine` is the lowest at any point with C < 0.1; the paper says that all lie above 0.8.",
        "The points are those that white-box descents of the targets pass, every eighth of 24.",
    ),
)

FIG8 = Table(
    key="fig8",
    title="Fig. 8: pictures by both attacks beside real ones",
    pictures=(Pictures("table1", ROWS),),
    differs=("Pictures stand on the page only.",),
)

YOSHIMURA = Paper(
    name="yoshimura",
    title="Yoshimura et al. 2021: model inversion in a black-box setting",
    cites="S. Yoshimura, K. Nakamura, N. Nitta and N. Babaguchi, “Model Inversion Attack against a Face "
    "Recognition System in a Black-Box Setting”, APSIPA ASC 2021",
    tables=(
        TABLE1,
        Table(key="table2", title="Table II: identification by people", why_not=HUMAN),
        Table(key="table3", title="Table III: likeness as people see it", why_not=HUMAN),
        FIG7,
        FIG8,
    ),
    about=(
        "The average of BB-MIA in Table I is printed as 73.4 %; its five columns average 75.0 %. Those of WB-MIA "
        "average 75.4 %, as printed.",
    ),
)
