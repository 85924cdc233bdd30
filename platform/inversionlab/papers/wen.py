"""Wen et al. 2021: adversarial noise on the answers, against an attacker who inverts them."""

from inversionlab.papers.finder import Finder
from inversionlab.papers.finders import Accuracy, InvertedError, OfMeasure, OfMeasurements
from inversionlab.papers.paper import Claim, Paper, Pictures, Reason, Table, grid

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


def _distortion(recipe: str, model: str) -> Finder:
    """Of Wen's noise before it is renormalised, as the paper has it; of other defenses there is no before."""
    if model == "none":
        return OfMeasurements(recipe, model, key="log_distortion")
    return OfMeasure(recipe, of="noise_size", key=model)


def _cells(recipe: str, model: str) -> list[tuple[str, Finder | str]]:
    return [
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


STRONGER = "MNIST: Ad-mi, ten times the noise"
APART = "MNIST, the attacker holds 10,000 other digits"
OVERLAP = "MNIST, the attacker holds the 10,000 private digits"
HOLDERS = {APART: "digits_others", OVERLAP: "digits_overlap"}


PICTURES = "The inverted scores are those of the victim’s training pictures."
STAND_IN = (
    "MNIST’s own digits at 32x32 stand in for MNIST and QMNIST, and LFW at 64x64, gray and cut to the face, for "
    "FaceScrub and CelebA."
)
DISTORTION = (
    "The distortion is the mean L1 size per entry of the noise on log-scores before it is renormalised. For PPF "
    "and MID, which add none, it is the distance of log-scores from the undefended model’s."
)

REASONS = (
    Reason(
        "The paper’s attacker learns from more digits, the private ones among them; ours from 10,000 others.",
        *("MNIST: none", "error", "above"),
    ),
    Reason(
        "The noise has the paper’s size, but the logarithms of our victim’s scores spread by 7 nats over the "
        "classes, so that it moves them by a fifteenth of that. Ten times the noise has a row of its own.",
        *("MNIST: Ad-mi", "error", "below"),
    ),
    Reason(
        "The budget is the paper’s distortion, and not every score uses all of it.",
        *("MNIST: Ad-mi", "distortion"),
    ),
    Reason(
        "PPF and MID move our victim’s log-scores by six to nine times what the paper prints, so the paper’s "
        "scores must spread less.",
        *("MNIST: [PM]*", "distortion"),
    ),
    Reason(
        "The paper gives no weight of MID’s penalty; ours is smaller in effect, and costs less accuracy.",
        rows="*: MID",
    ),
    Reason("The paper gives no settings of PPF; ours costs less accuracy.", rows="*: PPF"),
    Reason(
        "LFW’s 158 people in crops of 40 pixels stand in for FaceScrub’s 530, and the networks have a quarter of "
        "the paper’s width: levels differ for that alone.",
        rows="FaceScrub: *",
    ),
)

TABLE1 = Table(
    key="table1",
    title="Table I: accuracy, distortion and reconstruction error",
    cells=grid(
        [
            *(
                (f"{data}: {name}", _cells(recipe, model))
                for data, recipe in SETS.items()
                for name, model in DEFENSES.items()
            ),
            (STRONGER, _cells("digits", "ten_times")),
            *(
                (f"{holder}: {name}", _cells(recipe, DEFENSES[name]))
                for holder, recipe in HOLDERS.items()
                for name in ("none", "Ad-mi")
            ),
        ]
    ),
    claims=(
        Claim(
            "On MNIST, ten times the noise leaves a larger error than PPF",
            ("MNIST: PPF", "error"),
            (STRONGER, "error"),
            ours=True,
        ),
        Claim(
            "An attacker who also holds the private digits inverts them better than one with as many others",
            (f"{OVERLAP}: none", "error"),
            (f"{APART}: none", "error"),
            ours=True,
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
                f"On {data}, {name} costs accuracy",
                (f"{data}: {name}", "accuracy"),
                (f"{data}: none", "accuracy"),
            )
            for data in SETS
            for name in ("PPF", "MID")
        ),
        *(
            Claim(
                f"On {data}, Ad-mi costs no accuracy: at most half a point",
                (f"{data}: none", "accuracy"),
                (f"{data}: Ad-mi", "accuracy"),
                slack=0.005,
            )
            for data in SETS
        ),
        *(
            Claim(
                f"On {data}, Ad-mi distorts the scores less than {name}",
                (f"{data}: Ad-mi", "distortion"),
                (f"{data}: {name}", "distortion"),
            )
            for data, name in (("MNIST", "MID"), ("FaceScrub", "MID"), ("FaceScrub", "PPF"))
        ),
    ),
    stand_in=STAND_IN,
    differs=(
        DISTORTION,
        "The paper’s attacker has QMNIST, which holds the private digits again, so he may have memorised them. "
        "The rows of MNIST have an attacker with 10,000 digits, none of them private. The last rows are of a "
        "victim of 10,000 digits, and compare an attacker who holds as many others with one who holds these.",
        PICTURES,
        "At the scale `small` inversion models are trained with AdamW and one cycle, and the last epoch is kept; "
        "at `paper` with AMSGrad as in Yang’s code, and the best epoch by held-out public pictures is kept.",
    ),
    reasons=REASONS,
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
            "A larger step leaves a larger error",
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
        "`ami_adversarial` trains against noise of Wen’s basic setting (step 0.4, budget 2.4), whichever defense "
        "it attacks. Against High dist. (1.0, 4.2) it knows the method and not the parameters.",
        "Adv defense has the basic budget, 2.4, so its distortion cannot reach the paper’s 2.738.",
        PICTURES,
    ),
    reasons=(
        Reason(
            "The attacker trains against noise of his own, as large as the basic defense’s, and regains nearly "
            "all that the noise takes; against the paper’s improved defenses he regains less. The paper does not "
            "say how large his noise is, nor how long he trains.",
            rows="error",
            columns="[!N]*",
        ),
        Reason(
            "LFW’s 158 people in crops of 40 pixels stand in for FaceScrub’s 530, and the networks have a quarter "
            "of the paper’s width.",
            rows="error",
        ),
        Reason(
            "The defense’s budget is the default, 2.4, and not fitted to the paper’s distortion.",
            rows="distortion",
        ),
    ),
)


def _pictures(
    key: str, title: str, recipes: tuple[str, ...], rows: tuple[tuple[str, str, str], ...]
) -> Table:
    shown = tuple((heading, attack, model, None) for heading, attack, model in rows)
    return Table(
        key=key,
        title=title,
        pictures=tuple(Pictures(recipe, shown) for recipe in recipes),
        differs=("The pictures are on the page only.",),
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
            tuple(SETS.values()),
            tuple((name, UNAWARE, model) for name, model in DEFENSES.items()),
        ),
        _pictures(
            "fig2",
            "Fig. 2: reconstructions of the adaptive attack",
            ("faces",),
            tuple(
                (name, ADVERSARIAL, model) for name, model in IMPROVED.items() if model != "none"
            ),
        ),
        Table(
            key="section5",
            title="§V-A: the classifiers",
            cells=grid([(data, [("accuracy", Accuracy(recipe))]) for data, recipe in SETS.items()]),
            stand_in=STAND_IN,
            reasons=(
                Reason(
                    "Ours learns from 12,000 digits for eight epochs, at a quarter of the width.",
                    rows="MNIST",
                ),
            ),
        ),
    ),
    about=(
        "The paper gives two accuracies of the same classifiers: 99.6 and 85.7 % in §V-A.2, 98.96 and 81.52 % in "
        "Table I.",
        "It names no budget and no norm of the noise.",
    ),
)
