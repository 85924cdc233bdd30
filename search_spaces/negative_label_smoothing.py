"""Search space of negative label smoothing (D11): Struppek et al. 2024, the smoothing and when it begins.

Every combination retrains the victim: at most 5 x 2 = 10 trainings, however many trials there are.
"""

from ray import tune

SPACE = {
    "defense.smoothing": tune.choice([-0.01, -0.05, -0.1, -0.3, -1.0]),
    "defense.begins": tune.choice([0.25, 0.5]),
}

START = [
    # The paper's smoothing for face recognition.
    {"defense.smoothing": -0.05, "defense.begins": 0.5},
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 5.0}
