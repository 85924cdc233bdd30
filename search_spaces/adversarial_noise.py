"""Search space of the adversarial noise (D5): Wen et al. 2021, the noise's budget, step and iterations.

All three are used at inference only: they are continuous (or whole numbers), and changing them trains nothing. The
label never changes, so every trial has the same accuracy, and only the budget bounds the distortion of the scores
(in nats a score, because the recipe's `norm` is "inf"). Use attacks that see scores alone: a white-box
attacker removes this defense, and the success of such an attack is the same in every trial.
"""

from ray import tune

SPACE = {
    "defense.noise.budget": tune.loguniform(0.1, 10.0),
    "defense.noise.step": tune.loguniform(0.05, 2.0),
    "defense.noise.iterations": tune.randint(1, 21),
}

START = [
    # The paper's own for faces (section V-A.4); it names no budget: 2.4 gives its distortion on LFW.
    {"defense.noise.budget": 2.4, "defense.noise.step": 0.4, "defense.noise.iterations": 10},
    # Its "High dist." (Table II): the step is 1.
    {"defense.noise.budget": 4.2, "defense.noise.step": 1.0, "defense.noise.iterations": 10},
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

# In nats a score: what Wen et al. report on faces, and a little more.
CONSTRAINTS = {"log_distortion": 2.5}
