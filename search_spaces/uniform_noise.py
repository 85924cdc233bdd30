"""Search space of the uniform noise (D10): Salem et al. 2020, the noise's amplitude.

It is used at inference only: it is continuous, and changing it trains nothing. Attack with attacks that see scores
or labels alone: a white-box attacker removes this defense, and that attack's success never changes.
"""

from ray import tune

SPACE = {"defense.amplitude": tune.loguniform(1e-5, 1.0)}

# The paper names no amplitude.
START = [{"defense.amplitude": 0.01}]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 1.0}
