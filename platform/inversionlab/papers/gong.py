"""Gong et al. 2023: fine-tuning on GAN-made fake samples, one network for each protected label."""

from inversionlab.papers.finder import Finder
from inversionlab.papers.finders import Accuracy, EvaluatorAccuracy, OfMeasure
from inversionlab.papers.gong_hypotheses import HYPOTHESES
from inversionlab.papers.gong_pictures import FIG2
from inversionlab.papers.gong_rows import GAN_BASED, MIRROR, SETS, SHARED, STAND_IN, less, rows_of
from inversionlab.papers.paper import Claim, Paper, Table, grid


def _public_classifier(recipe: str, what: str) -> Finder:
    return OfMeasure(recipe, of="public_classifier", key=what, is_share=True)


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
            *(
                (
                    f"Public classifier F_C, {heading}",
                    [
                        (data, _public_classifier(f"table2{end}", what))
                        for data, end in SETS.items()
                    ],
                )
                for heading, what in (
                    ("held-out pictures", "held out"),
                    ("its own training pictures", "own pictures"),
                )
            ),
        ]
    ),
    stand_in=STAND_IN,
    differs=(
        "The paper does not say how accurate F_C is. Ours learns public people with ten pictures or more, and "
        "every fifth of their pictures is held out.",
    ),
)

TABLE2 = Table(
    key="table2",
    title="Table II: four attacks on each defense",
    cells=grid(
        rows_of(
            "table2",
            {"DP": "dp_sgd", "Ad-mi": "adversarial_noise", "GAN-D": "GAN-D", "GAN-ID": "GAN-ID"},
            undefended=True,
        )
    ),
    claims=(
        *(
            less(
                f"{name} leaves {attack} less than no defense",
                f"CelebA: {attack}",
                f"{name}: AA",
                "none: AA",
            )
            for attack in ("Mirror", "DMI", "Privacy")
            for name in ("GAN-D", "GAN-ID", "Ad-mi")
        ),
        *(
            less(f"{name} leaves Mirror less than DP does", MIRROR, f"{name}: AA", "DP: AA")
            for name in ("GAN-D", "GAN-ID")
        ),
        *(
            less(
                f"Behind {name}, {attack}’s pictures are further from the person, by eq. 13",
                f"CelebA: {attack}",
                "none: FID",
                f"{name}: FID",
            )
            for attack in ("Mirror", "DMI")
            for name in ("GAN-D", "GAN-ID", "Ad-mi")
        ),
        *(
            less(
                f"{name} costs at most 3 points of accuracy",
                MIRROR,
                "none: MC(all)",
                f"{name}: MC(all)",
                slack=0.03,
            )
            for name in ("GAN-D", "GAN-ID")
        ),
        less("DP costs accuracy", MIRROR, "DP: MC(all)", "none: MC(all)"),
        *(
            less(
                f"Behind {name}, the protected person is recognized more often than behind DP",
                MIRROR,
                "DP: MC(l_t)",
                f"{name}: MC(l_t)",
            )
            for name in ("GAN-D", "GAN-ID")
        ),
    ),
    stand_in=STAND_IN,
    differs=SHARED,
)

TABLE3 = Table(
    key="table3",
    title="Table III: random fake samples",
    cells=grid(
        rows_of(
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
        less(
            "GAN-D leaves Mirror less than random fakes do",
            MIRROR,
            "GAN-D: AA",
            "random fake samples: AA",
        ),
        less(
            "Random fakes cost more accuracy",
            MIRROR,
            "random fake samples: MC(all)",
            "GAN-D: MC(all)",
        ),
        less(
            "With random fakes, the person is recognized less often",
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


def _alike(kind: str) -> list[Claim]:
    """What Tables IV and V say alike."""
    return [
        less(
            "L_pri alone leaves the protected person unrecognized",
            MIRROR,
            "L_pri: MC(l_t)",
            f"{kind}(L_FL): MC(l_t)",
        ),
        less(
            "With the focal loss, Mirror’s pictures are further from the person than with cross-entropy, by eq. "
            "13",
            MIRROR,
            f"{kind}(L_CE): FID",
            f"{kind}(L_FL): FID",
        ),
        less(
            "With L_pri alone, they are furthest",
            MIRROR,
            f"{kind}(L_FL): FID",
            "L_pri: FID",
        ),
    ]


TABLE4 = Table(
    key="table4",
    title="Table IV: ablation of the losses, GAN-D",
    cells=grid(rows_of("table4", _ablation("GAN-D"), undefended=False)),
    claims=(
        less("L_pri alone costs accuracy", MIRROR, "L_pri: MC(all)", "GAN-D(L_FL): MC(all)"),
        less(
            "Without continual learning, accuracy is lower",
            MIRROR,
            "L_pri + L_pub: MC(all)",
            "GAN-D(L_FL): MC(all)",
        ),
        *_alike("GAN-D"),
    ),
    stand_in=STAND_IN,
    differs=SHARED,
)

TABLE5 = Table(
    key="table5",
    title="Table V: ablation of the losses, GAN-ID",
    cells=grid(rows_of("table5", _ablation("GAN-ID"), undefended=False, attacks=GAN_BASED)),
    claims=(
        less("L_pri alone costs accuracy", MIRROR, "L_pri: MC(all)", "GAN-ID(L_FL): MC(all)"),
        less(
            "Without continual learning, the protected person is recognized less often",
            MIRROR,
            "L_pri + L_pub: MC(l_t)",
            "GAN-ID(L_FL): MC(l_t)",
        ),
        *_alike("GAN-ID"),
    ),
    stand_in=STAND_IN,
    differs=SHARED,
)

TABLE6 = Table(
    key="table6",
    title="Table VI: the structure of the defender’s GAN",
    cells=grid(
        rows_of(
            "table6",
            {"InfoGAN": "GAN-ID-InfoGAN", "CGAN": "GAN-ID-CGAN", "WGAN": "GAN-ID"},
            undefended=True,
        )
    ),
    claims=tuple(
        claim
        for name in ("InfoGAN", "CGAN", "WGAN")
        for claim in (
            less(f"{name} leaves Mirror less than no defense", MIRROR, f"{name}: AA", "none: AA"),
            less(
                f"{name} costs at most 2 points of accuracy",
                MIRROR,
                "none: MC(all)",
                f"{name}: MC(all)",
                slack=0.02,
            ),
            less(
                f"Behind {name}, Mirror’s pictures are further from the person, by eq. 13",
                MIRROR,
                "none: FID",
                f"{name}: FID",
            ),
        )
    ),
    stand_in=STAND_IN,
    differs=SHARED,
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
)
