"""Wen et al. 2021: adversarial noise on the answers, against an attacker who inverts them."""

from inversionlab.papers.finders import (
    Accuracy,
    Finder,
    InvertedError,
    OfMeasure,
    OfMeasurements,
)
from inversionlab.papers.paper import Claim, Paper, Pictures, Table, grid

UNAWARE, ADVERSARIAL, ADAPTIVE = "ami", "ami_adversarial", "ami_adaptive"
"""Titles of the attackers: unaware of the defense; trained against noise of his own; trained on its answers."""
DEFENSES = {
    "none": "none",
    "PPF": "purifier",
    "MID": "mutual_information",
    "Ad-mi": "adversarial_noise",
}
SETS = {"MNIST": "digits", "FaceScrub": "faces"}
IMPROVED = {
    "None": "none",
    "Our defense": "adversarial_noise",
    "Adv defense": "adv_defense",
    "High dist.": "high_distortion",
}


NOISY = ("adversarial_noise", "adv_defense", "high_distortion")


def _distortion(recipe: str, model: str) -> Finder:
    """Of Wen's noise before it is renormalised, as the paper has it; of other defenses there is no before."""
    if model in NOISY:
        return OfMeasure(recipe, of="noise_size", key=model)
    return OfMeasurements(recipe, model, key="log_distortion")


def _first(data: str, recipe: str, name: str) -> tuple[str, list[tuple[str, Finder | str]]]:
    model = DEFENSES[name]
    return f"{data}: {name}", [
        ("accuracy", Accuracy(recipe, model)),
        ("distortion", _distortion(recipe, model)),
        ("error", InvertedError(recipe, model, UNAWARE)),
    ]


def _second(name: str, attack: str) -> tuple[str, list[tuple[str, Finder | str]]]:
    # The paper's first column is Table I's: nobody needs to know of no defense.
    return name, [
        (column, InvertedError("faces", model, UNAWARE if model == "none" else attack))
        for column, model in IMPROVED.items()
    ]


def _less_than(smaller: str, larger: str, text: str) -> Claim:
    return Claim(text, (smaller, "error"), (larger, "error"))


OVERLAP = "MNIST, the attacker holds the private digits"


def _overlap(name: str) -> list[tuple[str, Finder | str]]:
    model = DEFENSES[name]
    return [
        ("accuracy", Accuracy("digits_overlap", model)),
        ("distortion", _distortion("digits_overlap", model)),
        ("error", InvertedError("digits_overlap", model, UNAWARE)),
    ]


STAND_IN = (
    "MNIST’s own digits at 32x32 stand in for MNIST and QMNIST, and LFW at 64x64, gray and cut to the face, for "
    "FaceScrub and CelebA."
)
DISTORTION = (
    "The distortion is the mean L1 size for each entry of the noise on log-scores before it is renormalised; of "
    "PPF and MID, which add none, it is the distance of log-scores from the undefended model’s."
)

TABLE1 = Table(
    key="table1",
    title="Table I: accuracy, distortion and reconstruction error",
    cells=grid(
        [
            *(_first(data, recipe, name) for data, recipe in SETS.items() for name in DEFENSES),
            *((f"{OVERLAP}: {name}", _overlap(name)) for name in ("none", "Ad-mi")),
        ]
    ),
    claims=(
        _less_than(
            f"{OVERLAP}: none",
            "MNIST: none",
            "An attacker who holds the private digits too inverts them better",
        ),
        *(
            _less_than(
                f"{data}: {smaller}",
                f"{data}: {larger}",
                f"On {data}, {larger} leaves a larger error than {smaller}",
            )
            for data in SETS
            for smaller, larger in (("none", "Ad-mi"), ("PPF", "Ad-mi"), ("MID", "Ad-mi"))
        ),
        *(
            Claim(
                f"On {data}, MID costs accuracy",
                (f"{data}: MID", "accuracy"),
                (f"{data}: none", "accuracy"),
            )
            for data in SETS
        ),
    ),
    stand_in=STAND_IN,
    differs=(
        DISTORTION,
        "The paper’s attacker has QMNIST, which holds the private digits again, so he may have memorised them. "
        "The rows of MNIST have an attacker without any private digit, the last rows one who holds all of them.",
        "At the scale `small` inversion models are trained with AdamW and one cycle, and the last epoch is kept; "
        "at `paper` with AMSGrad as in Yang’s code, and the best epoch by held-out public pictures is kept.",
    ),
)

TABLE2 = Table(
    key="table2",
    title="Table II: the adaptive attack on faces",
    cells=grid(
        [
            (
                "distortion",
                [(column, _distortion("faces", model)) for column, model in IMPROVED.items()],
            ),
            _second("error", ADVERSARIAL),
            _second("error, an attacker who asks the defended model", ADAPTIVE),
            _second("error, an attacker who does not know", UNAWARE),
        ]
    ),
    claims=(
        Claim(
            "The adaptive attacker gains on the defense: its error is smaller than the unaware attacker’s",
            ("error", "Our defense"),
            ("error, an attacker who does not know", "Our defense"),
        ),
        Claim(
            "The defense still leaves a larger error than none",
            ("error", "None"),
            ("error", "Our defense"),
        ),
        Claim(
            "Adversarial training of the defender’s own model leaves a larger error",
            ("error", "Our defense"),
            ("error", "Adv defense"),
        ),
        Claim(
            "So does a larger step",
            ("error", "Our defense"),
            ("error", "High dist."),
        ),
    ),
    stand_in=STAND_IN,
    differs=(
        DISTORTION,
        "The paper’s attacker uses adversarial training with the gradient of his own inversion model "
        "(`ami_adversarial`); one who learns from the defended model’s answers (`ami_adaptive`) is stronger, and "
        "has a row of its own.",
    ),
)


def _pictures(key: str, title: str, recipe: str, rows: tuple[tuple[str, str, str], ...]) -> Table:
    shown = tuple((heading, attack, model, None) for heading, attack, model in rows)
    return Table(
        key=key,
        title=title,
        pictures=(Pictures(recipe, shown),),
        differs=("Pictures stand on the page only.",),
    )


WEN = Paper(
    name="wen",
    title="Wen, Yiu & Hui 2021: adversarial noise on the answers",
    cites="J. Wen, S.-M. Yiu and L. C. K. Hui, “Defending Against Model Inversion Attack by Adversarial "
    "Examples”, IEEE CSR 2021",
    tables=(
        TABLE1,
        TABLE2,
        _pictures(
            "fig1",
            "Fig. 1: reconstructions with each defense",
            "faces",
            tuple((name, UNAWARE, model) for name, model in DEFENSES.items()),
        ),
        _pictures(
            "fig2",
            "Fig. 2: reconstructions of the adaptive attack",
            "faces",
            tuple(
                (name, ADVERSARIAL, model) for name, model in IMPROVED.items() if model != "none"
            ),
        ),
        Table(
            key="section5",
            title="§V-A: the classifiers",
            cells=grid([(data, [("accuracy", Accuracy(recipe))]) for data, recipe in SETS.items()]),
            stand_in=STAND_IN,
        ),
    ),
    about=(
        "The paper gives two accuracies of the same classifiers: 99.6 and 85.7 % in §V-A.2, 98.96 and 81.52 % in "
        "Table I.",
        "It names no budget and no norm of the noise.",
    ),
)
