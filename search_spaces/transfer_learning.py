"""Search space of transfer learning (D12): Ho et al. 2024 (TL-DMI), how many stages keep their public weights.

Each value needs a training: 4, however many trials there are. `frozen` may not exceed the stages of the victim's
backbone (`small_resnet` with three groups of blocks has five).
"""

from ray import tune

SPACE = {"defense.frozen": tune.choice([0, 1, 2, 3])}

START = [
    # Nearest to the paper's public code, which keeps the first layers of VGG-16 up to its second resolution.
    {"defense.frozen": 2},
    # The default, which costs no accuracy on LFW at 32 x 32.
    {"defense.frozen": 1},
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 5.0}
