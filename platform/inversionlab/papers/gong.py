"""Gong et al. 2023: fine-tuning on GAN-made fake samples, one network for each protected label."""

from inversionlab.papers.finders import (
    Accuracy,
    EvaluatorAccuracy,
    Finder,
    OfMeasure,
    OfPictures,
    Success,
)
from inversionlab.papers.gong_hypotheses import HYPOTHESES
from inversionlab.papers.paper import Claim, Paper, Pictures, Table, grid

ATTACKS = {"DMI": "ked_mi", "Mirror": "mirror", "Privacy": "mi_face", "AMI": "ami"}
GAN_BASED = ("DMI", "Mirror")
SETS = {"CelebA": "", "VGG-Face": "_vggface", "VGG-Face2": "_vggface2"}
"""The paper's data sets, and what the names of their recipes end in."""
Cells = list[tuple[str, Finder | str]]


def _four(heading: str, recipe: str, model: str, attack: str) -> Cells:
    """AA, MC(all), MC(l_t) and FID, as the paper's columns are."""
    return [
        (f"{heading}: AA", Success(recipe, model, attack)),
        (f"{heading}: MC(all)", Accuracy(recipe, model)),
        (f"{heading}: MC(l_t)", Accuracy(recipe, model, people="targets")),
        (f"{heading}: FID", OfPictures(recipe, model, attack, key="feature_mean")),
    ]


def _three(recipe: str, attack: str) -> Cells:
    """What the paper prints of the undefended model."""
    return [
        ("none: MC(all)", Accuracy(recipe)),
        ("none: AA", Success(recipe, attack=attack)),
        ("none: FID", OfPictures(recipe, attack=attack, key="feature_mean")),
    ]


def _known(model: str, attack: str) -> str:
    """GAN-D with the attacker's own structure: DMI's GAN is another one than Mirror's."""
    return f"{model}-DMI" if attack == "DMI" and model.startswith("GAN-D") else model


def _rows(
    table: str,
    models: dict[str, str],
    *,
    undefended: bool,
    attacks: tuple[str, ...] = tuple(ATTACKS),
    sets: tuple[str, ...] = tuple(SETS),
) -> list[tuple[str, Cells]]:
    """Rows by data set and attack; `models` are titles of defenses by the paper's headings."""
    rows = []
    for data in sets:
        recipe = f"{table}{SETS[data]}"
        for name in attacks:
            cells = _three(recipe, ATTACKS[name]) if undefended else []
            for heading, model in models.items():
                cells += _four(heading, recipe, _known(model, name), ATTACKS[name])
            rows.append((f"{data}: {name}", cells))
    return rows


def _less(text: str, row: str, smaller: str, larger: str, slack: float = 0.0) -> Claim:
    return Claim(text, (row, smaller), (row, larger), slack)


MIRROR = "CelebA: Mirror"
STAND_IN = (
    "LFW at 64x64 stands in for CelebA; VGG-Face and VGG-Face2 are run at the scale `paper` alone."
)
SHARED = (
    "The paper protects one label of 1,000 and does not say how many it tried; ours are ten people, each with "
    "networks of their own, 20 tries each. AA is pooled over them, and the unit of its interval is the person.",
    "AA is top-1 by an evaluator of the same people with another structure (IR-50 against VGG-16).",
    "FID is eq. 13 as printed, the squared distance of the mean features; its level depends on the evaluator, so "
    "only its order compares. It has no interval.",
    "GAN-D is trained anew for DMI with that attack’s GAN structure and for all others with Mirror’s; the paper "
    "has a network of its own for each attack.",
)


def _public_classifier(recipe: str) -> Finder:
    return OfMeasure(recipe, of="public_classifier", key="own pictures", is_share=True)


TABLE1 = Table(
    key="table1",
    title="Table I: accuracy of the victim and evaluation models",
    cells=grid(
        [
            (
                "Victim model",
                [(data, Accuracy(f"table2{end}")) for data, end in SETS.items()],
            ),
            (
                "Evaluation model",
                [(data, EvaluatorAccuracy(f"table2{end}")) for data, end in SETS.items()],
            ),
            (
                "Public classifier F_C, its own training pictures",
                [(data, _public_classifier(f"table2{end}")) for data, end in SETS.items()],
            ),
        ]
    ),
    stand_in=STAND_IN,
    differs=(
        "The paper does not say how accurate F_C is. Ours has learned from people with few pictures, none of "
        "which are held out: its figure is an upper bound.",
    ),
)

TABLE2 = Table(
    key="table2",
    title="Table II: four attacks on each defense",
    cells=grid(
        _rows(
            "table2",
            {"DP": "dp_sgd", "Ad-mi": "adversarial_noise", "GAN-D": "GAN-D", "GAN-ID": "GAN-ID"},
            undefended=True,
        )
    ),
    claims=(
        _less("GAN-D leaves Mirror less than no defense", MIRROR, "GAN-D: AA", "none: AA"),
        _less("GAN-ID leaves Mirror less than no defense", MIRROR, "GAN-ID: AA", "none: AA"),
        _less("GAN-D leaves Mirror less than DP", MIRROR, "GAN-D: AA", "DP: AA"),
        _less("Ad-mi leaves Mirror less than no defense", MIRROR, "Ad-mi: AA", "none: AA"),
        _less(
            "GAN-D costs at most 3 points of accuracy",
            MIRROR,
            "none: MC(all)",
            "GAN-D: MC(all)",
            slack=0.03,
        ),
        _less("DP costs accuracy", MIRROR, "DP: MC(all)", "none: MC(all)"),
    ),
    stand_in=STAND_IN,
    differs=SHARED,
)

TABLE3 = Table(
    key="table3",
    title="Table III: random fake samples",
    cells=grid(
        _rows(
            "table3",
            {
                "random fake samples": "random_fake_samples",
                "GAN-D": "GAN-D-CE",
                "GAN-ID": "GAN-ID-CE",
            },
            undefended=False,
            sets=("CelebA",),
        )
    ),
    claims=(
        _less(
            "GAN-D leaves Mirror less than random fakes do",
            MIRROR,
            "GAN-D: AA",
            "random fake samples: AA",
        ),
        _less(
            "Random fakes cost more accuracy",
            MIRROR,
            "random fake samples: MC(all)",
            "GAN-D: MC(all)",
        ),
        _less(
            "With random fakes the person is recognized less often",
            MIRROR,
            "random fake samples: MC(l_t)",
            "GAN-D: MC(l_t)",
        ),
    ),
    stand_in=STAND_IN,
    differs=(
        "Its GAN-D and GAN-ID have the figures of L_CE in Tables IV and V; ours are with cross-entropy too.",
        *SHARED,
    ),
)

_PARTS = {"L_pri": "L_pri", "L_pri + L_pub": "L_pri-L_pub"}


def _ablation(kind: str) -> dict[str, str]:
    """Titles of the models by the headings of Tables IV and V."""
    parts = {heading: f"{kind}-{title}" for heading, title in _PARTS.items()}
    return {**parts, f"{kind}(L_CE)": f"{kind}-CE", f"{kind}(L_FL)": kind}


TABLE4 = Table(
    key="table4",
    title="Table IV: ablation of the losses, GAN-D",
    cells=grid(_rows("table4", _ablation("GAN-D"), undefended=False)),
    claims=(
        _less("L_pri alone costs accuracy", MIRROR, "L_pri: MC(all)", "GAN-D(L_FL): MC(all)"),
        _less(
            "Without continual learning accuracy is lower",
            MIRROR,
            "L_pri + L_pub: MC(all)",
            "GAN-D(L_FL): MC(all)",
        ),
    ),
    stand_in=STAND_IN,
    differs=SHARED,
)

TABLE5 = Table(
    key="table5",
    title="Table V: ablation of the losses, GAN-ID",
    cells=grid(_rows("table5", _ablation("GAN-ID"), undefended=False, attacks=GAN_BASED)),
    claims=(
        _less("L_pri alone costs accuracy", MIRROR, "L_pri: MC(all)", "GAN-ID(L_FL): MC(all)"),
        _less(
            "Without continual learning accuracy is lower",
            MIRROR,
            "L_pri + L_pub: MC(all)",
            "GAN-ID(L_FL): MC(all)",
        ),
    ),
    stand_in=STAND_IN,
    differs=SHARED,
)

TABLE6 = Table(
    key="table6",
    title="Table VI: the structure of the defender’s GAN",
    cells=grid(
        _rows(
            "table6",
            {"InfoGAN": "GAN-ID-InfoGAN", "CGAN": "GAN-ID-CGAN", "WGAN": "GAN-ID"},
            undefended=True,
        )
    ),
    claims=tuple(
        _less(f"{name} leaves Mirror less than no defense", MIRROR, f"{name}: AA", "none: AA")
        for name in ("InfoGAN", "CGAN", "WGAN")
    ),
    stand_in=STAND_IN,
    differs=SHARED,
)

FIG2 = Table(
    key="fig2",
    title="Fig. 2: reconstructions with each defense",
    pictures=tuple(
        Pictures(
            "table2",
            (
                (f"{name}, undefended", ATTACKS[name], "none", None),
                (f"{name}, DP", ATTACKS[name], "dp_sgd", None),
                (f"{name}, Ad-mi", ATTACKS[name], "adversarial_noise", None),
                (f"{name}, GAN-D", ATTACKS[name], _known("GAN-D", name), None),
                (f"{name}, GAN-ID", ATTACKS[name], "GAN-ID", None),
            ),
            real=place == 0,
        )
        for place, name in enumerate(("DMI", "AMI", "Mirror"))
    ),
    differs=("Pictures stand on the page only, those of the first protected person.",),
)

GONG = Paper(
    name="gong",
    title="Gong et al. 2023: GAN-made fake samples",
    cites="X. Gong, Z. Wang, S. Li, Y. Chen and Q. Wang, “A GAN-Based Defense Framework Against Model Inversion "
    "Attacks”, IEEE TIFS 18, 2023",
    tables=(TABLE1, TABLE2, TABLE3, TABLE4, TABLE5, TABLE6, FIG2, HYPOTHESES),
    about=(
        "The first column of Table II is headed MC(l_t); its values are Table I’s accuracies, MC(all).",
        "MC(l_t) is of two test pictures, so it can only be 0, 50 or 100 %.",
        "The text on Table II gives GAN-D’s FID against Mirror as 174, 273 and 199; these are Table IV’s L_CE, "
        "and Table II prints 191, 269 and 213.",
        "The text says that GAN-ID’s FID for DMI on CelebA is 170, which is L_CE’s; Table II prints 168.",
        "In the text at hand a row of Table IV (VGG-Face, Privacy, GAN-D with L_CE) lacks a figure.",
        "Tables II and VI give WGAN’s FID for VGG-Face2 and Privacy as 379 and 419.",
    ),
    costly=True,
)
