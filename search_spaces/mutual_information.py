"""Search space of the mutual-information regulariser (D7): Wang, Zhang & Jia 2021, the price of information.

Every combination retrains the victim: at most 6 x 2 = 12 trainings, however many trials there are.
"""

from ray import tune

SPACE = {
    "defense.beta": tune.choice([0.0003, 0.001, 0.003, 0.01, 0.03, 0.1]),
    "defense.code_size": tune.choice([32, 256]),
}

START = [
    # KED-MI's public code (whose b counts bits, ours nats); the paper gives no value for faces of this size.
    {"defense.beta": 0.01, "defense.code_size": 256},
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 5.0}
