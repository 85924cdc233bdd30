"""Wide search space of the GAN-based fake samples (D2): Gong et al. 2023, for one protected label in a network.

At the start the gradient of L_pri is 41 to 2,500 times weaker than that of L_pub, so alpha / beta reaches 3,300
here, where `search_spaces/gan_fake_samples.py` ends at 3.3. Samples, the search of fakes (steps, lambda, rate),
the length of the fine-tuning, the private weight and the GAN's structure are here too. Every trial trains a
network. `generator` names labels of the recipe, as jobs/recipes/lfw_one_label.yaml has them:

    inversionlab search search_spaces/wide/gan_fake_samples.py --recipe lfw_one_label --trials 60
"""

from ray import tune

SPACE = {
    "defense.alpha": tune.loguniform(0.3, 1000.0),
    "defense.beta": tune.choice([0.3, 1.0]),
    "defense.omega": tune.choice([0.3, 1.0]),
    "defense.ewc_lambda": tune.loguniform(1e6, 1e9),
    "defense.gamma": tune.choice([0.0, 2.0]),
    "defense.private_weight": tune.choice([0.0, 0.3, 1.0, 3.0]),
    "defense.samples": tune.choice([8, 16, 64]),
    "defense.steps": tune.choice([50, 100, 300]),
    "defense.lambda_identity": tune.loguniform(1.0, 1000.0),
    "defense.rate": tune.choice([0.02, 0.05, 0.2]),
    "defense.fine_tuning_steps": tune.choice([30, 100, 300]),
    "defense.generator": tune.choice(["wgan", "style"]),
}

_PAPER = {
    # Section IV-C has gamma = 2. It gives no other number: the weights are taken as 1, the rest are our defaults.
    "defense.alpha": 1.0,
    "defense.beta": 1.0,
    "defense.omega": 1.0,
    "defense.ewc_lambda": 1e8,
    "defense.gamma": 2.0,
    "defense.private_weight": 0.0,
    "defense.samples": 16,
    "defense.steps": 100,
    "defense.lambda_identity": 100.0,
    "defense.rate": 0.05,
    "defense.fine_tuning_steps": 30,
}

START = [
    # GAN-ID and GAN-D against an attacker with a StyleGAN.
    {**_PAPER, "defense.generator": "wgan"},
    {**_PAPER, "defense.generator": "style"},
    # L_pri as strong as L_pub.
    {**_PAPER, "defense.generator": "wgan", "defense.alpha": 1000.0},
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

# `others_taken`: a label that takes in other people's pictures protects by being wrong.
CONSTRAINTS = {"accuracy_loss": 3.0, "others_taken": 5.0}
