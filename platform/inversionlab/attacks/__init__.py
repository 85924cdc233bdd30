"""The attacks by their registered names. A new attack is one file here and one line below."""

from typing import TYPE_CHECKING

from inversionlab.attacks.ami import Ami
from inversionlab.attacks.ami_adaptive import AmiAdaptive
from inversionlab.attacks.ami_adversarial import AmiAdversarial
from inversionlab.attacks.amplified_mia import AmplifiedMia
from inversionlab.attacks.base import Attack, AttackError, AttackSettings
from inversionlab.attacks.centre_by_centre import CentreByCentre
from inversionlab.attacks.context import AttackerContext
from inversionlab.attacks.distil_then_invert import DistilThenInvert
from inversionlab.attacks.gmi import Gmi
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.ked_mi import KedMi
from inversionlab.attacks.label_only import LabelOnly
from inversionlab.attacks.latent_black_box import LatentBlackBox
from inversionlab.attacks.latent_white_box import LatentWhiteBox
from inversionlab.attacks.mi_face import MiFace
from inversionlab.attacks.mirror import Mirror
from inversionlab.attacks.multi_mode import MultiMode
from inversionlab.attacks.pixel_gan_seed import PixelGanSeed
from inversionlab.attacks.pixel_gray_box import PixelGrayBox
from inversionlab.attacks.plg_mi import PlgMi
from inversionlab.attacks.ppa import Ppa
from inversionlab.attacks.public_look_alike import PublicLookAlike
from inversionlab.attacks.random_latent import RandomLatent
from inversionlab.attacks.random_public import RandomPublic
from inversionlab.core.settings import any_of

ATTACKS: dict[str, type[Attack]] = {
    "random_latent": RandomLatent,
    "random_public": RandomPublic,
    "public_look_alike": PublicLookAlike,
    "pixel_gray_box": PixelGrayBox,
    "pixel_gan_seed": PixelGanSeed,
    "latent_white_box": LatentWhiteBox,
    "latent_black_box": LatentBlackBox,
    "mi_face": MiFace,
    "label_only": LabelOnly,
    "distil_then_invert": DistilThenInvert,
    "multi_mode": MultiMode,
    "centre_by_centre": CentreByCentre,
    "gmi": Gmi,
    "ked_mi": KedMi,
    "mirror": Mirror,
    "ppa": Ppa,
    "plg_mi": PlgMi,
    "ami": Ami,
    "ami_adaptive": AmiAdaptive,
    "ami_adversarial": AmiAdversarial,
    "amplified_mia": AmplifiedMia,
}

if TYPE_CHECKING:
    AnyAttack = AttackSettings
else:
    AnyAttack = any_of(ATTACKS)

__all__ = [
    "ATTACKS",
    "AnyAttack",
    "Attack",
    "AttackError",
    "AttackJobs",
    "AttackResult",
    "AttackSettings",
    "AttackerContext",
]
