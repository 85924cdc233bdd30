"""Search space of DP-SGD (D9): Abadi et al. 2016, the budget epsilon and the clipping norm C.

Every combination needs a training: at most 4 x 3 = 12, however many trials there are. With the default `train` =
head, a training takes minutes on a CPU core. Choosing among trials by their accuracy on private people spends
privacy that no epsilon counts.
"""

from ray import tune

SPACE = {
    "defense.epsilon": tune.choice([1.0, 4.0, 8.0, 50.0]),
    "defense.clip": tune.choice([1.0, 3.0, 10.0]),
}

START = [
    # Gong et al. 2023 (section V-A2): epsilon = 8; they do not give C (from 1 to 6 it made no difference on LFW).
    {"defense.epsilon": 8.0, "defense.clip": 3.0},
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

# No bound on the loss of accuracy: on LFW every epsilon loses tens of points.
CONSTRAINTS: dict[str, float] = {}
