"""Yoshimura et al. 2021: model inversion without gradients, beside its twin that has them."""

from inversionlab.papers.finder import ANSWERS, NO_MODEL, Finder
from inversionlab.papers.finders import OfMeasure, Success
from inversionlab.papers.paper import Blind, Claim, Paper, Pictures, Table, grid

TARGETS = 5
AVERAGE = "average"
SFACE, NULL = ", by SFace", "a random public face"
ATTACKS = {"WB-MIA": "latent_white_box", "BB-MIA": "latent_black_box"}
ROWS = tuple((name, attack, "none", None) for name, attack in ATTACKS.items())
HUMAN = (
    "The paper asked nine people. `blind.html` beside this page asks in the same way, and a later call reads "
    "the answers."
)


def _row(
    name: str, attack: str, model: str = "none", evaluator: str = ""
) -> tuple[str, list[tuple[str, Finder | str]]]:
    columns = [*((f"ID:{place + 1}", place) for place in range(TARGETS)), (AVERAGE, None)]
    return name, [
        (column, Success("table1", model, attack, evaluator, place=place))
        for column, place in columns
    ]


TABLE1 = Table(
    key="table1",
    title="Table I: recognition accuracy of the evaluator on reconstructions",
    cells=grid(
        [
            row
            for by, evaluator in (("", ""), (SFACE, "sface"))
            for row in (
                *(
                    _row(f"{name}{by}", attack, evaluator=evaluator)
                    for name, attack in ATTACKS.items()
                ),
                _row(f"{NULL}{by}", "random_public", NO_MODEL, evaluator),
            )
        ]
    ),
    claims=(
        Claim(
            "Without gradients, as much is found as with them: at most 10 points less (the slack is ours; the "
            "paper finds 2 less)",
            ("WB-MIA", AVERAGE),
            ("BB-MIA", AVERAGE),
            slack=0.1,
        ),
        *(
            Claim(
                f"{name} is recognized more often than a random face{by}",
                (f"{NULL}{by}", AVERAGE),
                (f"{name}{by}", AVERAGE),
                ours=True,
            )
            for by in ("", SFACE)
            for name in ATTACKS
        ),
    ),
    stand_in="LFW at 64x64 in gray stands in for the frontal faces of VGGFace2 in gray.",
    differs=(
        "Success is top-1 by an evaluator that shares only the five targets with the victim. SFace, an embedding "
        "trained elsewhere, chooses among the victim’s people; it is asked at `small`.",
        "The interval of a column counts 100 starts at one person. That of the average counts five people: it "
        "says how far another five people may be from it.",
        "Figs. 5 and 6, the layers of the VAE and of the recognizers, are drawings, which the text at hand lacks. "
        "We use a residual VAE of m = 32 with SiLU in place of leaky ReLU. Our recognizers differ in their last "
        "two layers, as the paper’s do. They are residual networks at `small` and Khosravy’s at `paper`.",
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
            ),
            (
                "C of 0.1 or more",
                [
                    (
                        "share with a cosine above 0.8",
                        OfMeasure(
                            "table1", of="gradient_estimates", key="elsewhere", is_share=True
                        ),
                    )
                ],
            ),
        ]
    ),
    claims=(
        Claim(
            "Where C is below 0.1, an estimate more often has a cosine above 0.8",
            ("C of 0.1 or more", "share with a cosine above 0.8"),
            ("C < 0.1", "share with a cosine above 0.8"),
        ),
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
    differs=("The pictures are on the page only.",),
)


def _judged(key: str, title: str, what: str) -> Table:
    """A table of people's answers."""
    columns = [*(f"ID:{place + 1}" for place in range(TARGETS)), AVERAGE]
    cells: list[tuple[str, list[tuple[str, Finder | str]]]] = [
        (
            name,
            [
                (
                    column,
                    OfMeasure("table1", of=ANSWERS, key=f"{name} {column} {what}", is_share=True),
                )
                for column in columns
            ],
        )
        for name in ATTACKS
    ]
    return Table(key=key, title=title, cells=grid(cells), differs=(HUMAN,))


YOSHIMURA = Paper(
    name="yoshimura",
    title="Yoshimura et al. 2021: model inversion in a black-box setting",
    cites="S. Yoshimura, K. Nakamura, N. Nitta and N. Babaguchi, “Model Inversion Attack against a Face "
    "Recognition System in a Black-Box Setting”, APSIPA ASC 2021",
    blind=Blind("Who are these people?", "table1", tuple(ATTACKS.items())),
    tables=(
        TABLE1,
        _judged("table2", "Table II: identification by people", "who"),
        _judged("table3", "Table III: likeness as people see it", "alike"),
        FIG7,
        FIG8,
    ),
    about=(
        "The average of BB-MIA in Table I is printed as 73.4 %; its five columns average 75.0 %. Those of WB-MIA "
        "average 75.4 %, as printed.",
    ),
)
