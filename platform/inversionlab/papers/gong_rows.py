"""What the tables of Gong et al. share: attacks, data sets, and their rows of figures."""

from inversionlab.papers.face_distances import FaceDistance, FrechetDistance
from inversionlab.papers.finder import Finder
from inversionlab.papers.finders import Accuracy, OfMeasurements, Success
from inversionlab.papers.paper import Claim

ATTACKS = {"DMI": "ked_mi", "Mirror": "mirror", "Privacy": "mi_face", "AMI": "ami"}
GAN_BASED = ("DMI", "Mirror")
SETS = {"CelebA": "", "VGG-Face": "_vggface", "VGG-Face2": "_vggface2"}
"""The paper's data sets, and what the names of their recipes end in."""
Cells = list[tuple[str, Finder | str]]


def _four(heading: str, recipe: str, model: str, attack: str) -> Cells:
    """AA, MC(all), MC(l_t) and FID, as the paper has; a second distance, and how many others are taken."""
    return [
        (f"{heading}: AA", Success(recipe, model, attack)),
        (f"{heading}: MC(all)", Accuracy(recipe, model)),
        (f"{heading}: MC(l_t)", Accuracy(recipe, model, people="targets")),
        (f"{heading}: FID", FaceDistance(recipe, model, attack)),
        (f"{heading}: Fréchet distance", FrechetDistance(recipe, model, attack)),
        (f"{heading}: others taken for l_t", OfMeasurements(recipe, model, key="others_taken_of")),
    ]


def _three(recipe: str, attack: str) -> Cells:
    """What the paper prints of the undefended model."""
    return [
        ("none: MC(all)", Accuracy(recipe)),
        ("none: AA", Success(recipe, attack=attack)),
        ("none: FID", FaceDistance(recipe, attack=attack)),
        ("none: Fréchet distance", FrechetDistance(recipe, attack=attack)),
    ]


def known(model: str, attack: str) -> str:
    """GAN-D with the attacker's own structure: DMI's GAN is another one than Mirror's."""
    return f"{model}-DMI" if attack == "DMI" and model.startswith("GAN-D") else model


def rows_of(
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
                cells += _four(heading, recipe, known(model, name), ATTACKS[name])
            rows.append((f"{data}: {name}", cells))
    return rows


def less(text: str, row: str, smaller: str, larger: str, slack: float = 0.0) -> Claim:
    """A claim on two columns of one row."""
    return Claim(text, (row, smaller), (row, larger), slack)


MIRROR = "CelebA: Mirror"
STAND_IN = (
    "LFW at 32x32 stands in for CelebA; VGG-Face and VGG-Face2 are run at the scale `paper` alone."
)
SHARED = (
    "The paper protects one label of 1,000 and does not say how many it tried; ours are ten people, each behind a "
    "network of their own (`protect: each`), with 20 tries each. AA is pooled, and its interval counts people.",
    "AA is top-1 by an evaluator of the same people with another structure (IR-50 against VGG-16).",
    "`others taken for l_t` is ours: test pictures of other private people that get the protected label.",
    "FID is eq. 13 as printed, the squared distance of the mean features, person by person; its level depends on "
    "the evaluator, so only its order compares. `Fréchet distance` is ours: with the covariances, which eq. 13 "
    "leaves out, and of all people together. It has no interval.",
    "Attacks have this platform’s defaults, which find more than the published settings, or as much in fewer "
    "steps (docs/attacks.md); at the scale `paper` they are as published.",
    "DP at the scale `small` trains the head alone, on a network of public people: from random weights it learns "
    "next to nothing from 2,421 pictures. At `paper` it trains every weight from random ones, as the paper does.",
    "GAN-D is trained anew for DMI with that attack’s GAN structure and for all others with Mirror’s; the paper "
    "has a network of its own for each attack.",
)
