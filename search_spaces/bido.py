"""Search space of bilateral dependency optimisation (D13): Peng et al. 2022, the two weights of HSIC.

Every combination retrains the victim: at most 4 x 4 = 16 trainings, however many trials there are.
"""

from ray import tune

SPACE = {
    "defense.input_weight": tune.choice([0.01, 0.05, 0.1, 0.5]),
    "defense.label_weight": tune.choice([0.05, 0.5, 1.0, 5.0]),
}

START = [
    # The public code's for CelebA.
    {"defense.input_weight": 0.05, "defense.label_weight": 0.5},
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 5.0}
