"""Search space of the dummy recognizer (D1): Kotsuji & Nakamura 2025, alpha, sigma, sigma~ and m.

`alpha` and `temperature` are used at inference only: they are continuous, and changing them trains nothing. Every
combination of `sigma`, `sigma_neighbour` and `neighbours` needs its own dummy, so each has a few choices: at most
2 x 2 x 2 = 8 trainings, however many trials there are. Continuous ones would cost a training for every trial.
"""

from ray import tune

SPACE = {
    "defense.alpha": tune.uniform(0.05, 1.0),
    "defense.temperature": tune.loguniform(1.0, 10.0),
    "defense.sigma": tune.choice([0.7, 1.0]),
    "defense.sigma_neighbour": tune.choice([0.25, 0.4]),
    "defense.neighbours": tune.choice([20, 40]),
}

_PAPER_TRAINING = {
    "defense.sigma": 1.0,
    "defense.sigma_neighbour": 0.25,
    "defense.neighbours": 40,
}

START = [
    # The paper's own (section 5): sigma^2 = 1, sigma~^2 = 0.0625, alpha = 0.25; it has no temperature.
    {"defense.alpha": 0.25, "defense.temperature": 1.0, **_PAPER_TRAINING},
    # Found by hand for jobs/recipes/lfw.yaml, with the same training.
    {"defense.alpha": 0.2, "defense.temperature": 3.0, **_PAPER_TRAINING},
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 1.0}
