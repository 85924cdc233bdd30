"""Search space of the purifier (D8): Yang et al. 2020, the weights of the label and of the adversarial term.

Every combination needs its own purifier, so each setting has a few choices: at most 2 x 3 x 2 = 12 trainings,
however many trials there are.
"""

from ray import tune

SPACE = {
    "defense.label_weight": tune.choice([0.1, 1.0]),
    "defense.adversarial_weight": tune.choice([1.0, 30.0, 1000.0]),
    "defense.code_size": tune.choice([16, 64]),
}

START = [
    # The weights in a public reproduction for faces; Yang et al. and Wen et al. give none.
    {
        "defense.label_weight": 1.0,
        "defense.adversarial_weight": 1.0,
        "defense.code_size": 64,
    },
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 5.0}
