"""The search space of the golden store: one setting, so that a search is soon done."""

from ray import tune

SPACE = {"defense.alpha": tune.uniform(0.05, 1.0)}

START = [{"defense.alpha": 0.25}]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 100.0}
