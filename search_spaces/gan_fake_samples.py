"""Search space of the GAN-based fake samples (D2): Gong et al. 2023, gamma, lambda_3 (EWC), alpha, beta, omega.

All of them shape the fine-tuning, so every combination is its own training, including the inversions and the
Fisher diagonal: at most 2 x 2 x 2 x 2 x 2 = 32, and no more than there are trials. Of omega and lambda_3 only the
product matters; both are here because the paper names both. With many labels in one network, set `private_weight`
in the recipe: without it no point tried came within 3 points of the victim's accuracy on LFW.
"""

from ray import tune

SPACE = {
    "defense.gamma": tune.choice([0.0, 2.0]),
    "defense.ewc_lambda": tune.choice([1e7, 1e8]),
    "defense.alpha": tune.choice([0.3, 1.0]),
    "defense.beta": tune.choice([0.3, 1.0]),
    "defense.omega": tune.choice([0.3, 1.0]),
}

START = [
    # The paper's focal loss (section IV-C: gamma = 2); it gives no other number.
    {
        "defense.gamma": 2.0,
        "defense.ewc_lambda": 1e8,
        "defense.alpha": 1.0,
        "defense.beta": 1.0,
        "defense.omega": 1.0,
    },
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 3.0}
