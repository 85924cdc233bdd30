"""Search space of DP-SGD (D9): Abadi et al. 2016, the budget epsilon and the clipping norm C.

Both need a training: 4 x 3 = 12 at most, however many trials there are. With `train` = head, the default, one
takes minutes on a CPU core. A choice among trials by their accuracy on private people spends privacy that no
epsilon counts.
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

# No bound on the accuracy that is lost: on LFW every epsilon loses tens of points.
CONSTRAINTS: dict[str, float] = {}
