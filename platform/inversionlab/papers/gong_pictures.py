"""Fig. 2 of Gong et al.: the pictures, and whose face they are near."""

from typing import Literal

from inversionlab.papers.face_distances import FaceDistance
from inversionlab.papers.gong_rows import ATTACKS, STAND_IN, Cells, known
from inversionlab.papers.paper import Claim, Pictures, Table, grid

PICTURED = ("DMI", "AMI", "Mirror")
"""The attacks of Fig. 2."""


def _places(attack: str) -> Cells:
    """How far an attack's pictures are from the person, and from the public person of the protected label."""
    models = {"none": "none", "GAN-D": known("GAN-D", attack), "GAN-ID": "GAN-ID"}
    return [
        (f"{name}: to the {to}", FaceDistance("table2", model, ATTACKS[attack], to=to))
        for name, model in models.items()
        for to in TO
    ]


TO: tuple[Literal["person", "decoy"], ...] = ("person", "decoy")

FIG2 = Table(
    key="fig2",
    title="Fig. 2: reconstructions with each defense, and whose face they are near",
    cells=grid([(name, _places(name)) for name in PICTURED]),
    claims=tuple(
        claim
        for name in ("GAN-D", "GAN-ID")
        for claim in (
            Claim(
                f"{name} leads Mirror’s pictures to the decoy: they are nearer to it than the undefended model’s",
                ("Mirror", f"{name}: to the decoy"),
                ("Mirror", "none: to the decoy"),
            ),
            Claim(
                f"{name} leads them away from the person",
                ("Mirror", "none: to the person"),
                ("Mirror", f"{name}: to the person"),
            ),
        )
    ),
    pictures=tuple(
        Pictures(
            "table2",
            (
                (f"{name}, undefended", ATTACKS[name], "none", None),
                (f"{name}, DP", ATTACKS[name], "dp_sgd", None),
                (f"{name}, Ad-mi", ATTACKS[name], "adversarial_noise", None),
                (f"{name}, GAN-D", ATTACKS[name], known("GAN-D", name), None),
                (f"{name}, GAN-ID", ATTACKS[name], "GAN-ID", None),
            ),
            real=place == 0,
            decoys=place == 0,
        )
        for place, name in enumerate(PICTURED)
    ),
    stand_in=STAND_IN,
    differs=(
        "The pictures are on the page only. The paper has no figures of them.",
        "The distances are those of FID (eq. 13 as printed), person by person: to the person’s own pictures, and "
        "to those of the public person l_p who stands behind the protected label.",
    ),
)
