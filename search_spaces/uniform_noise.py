"""Search space of the uniform noise (D10): Salem et al. 2020, the noise's amplitude.

The amplitude is used at inference only: it is continuous, and changing it trains nothing. Use attacks that see
scores or labels alone: a white-box attacker removes this defense, and the success of such an attack never changes.
"""

from ray import tune

SPACE = {"defense.amplitude": tune.loguniform(1e-5, 1.0)}

# The paper names no amplitude.
START = [{"defense.amplitude": 0.01}]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 1.0}
