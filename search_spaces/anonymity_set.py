"""Search space of the anonymity set: how many decoys, of which kind, how often they are shown, and whether the
trunk is trained on strangers first.

Every combination is a training of its own: at most 3 x 2 x 2 x 2 = 24, however many trials there are. The data
must keep strangers for the largest set, 7 for each private person: `split.decoy_people`. Attack with
`centre_by_centre`, which knows of this defense, and with attacks that see less. The winner is audited on people
whom the search never attacked. With `strangers: true` in the recipe's `defense` the trunk learns public people in
every trial, beside the private ones.
"""

from ray import tune

SPACE = {
    "defense.decoys": tune.choice([1, 3, 7]),
    "defense.kind": tune.choice(["strangers", "generated"]),
    "defense.share": tune.choice([0.5, 1.0]),
    "defense.pretrained": tune.choice([False, True]),
}

START = [
    {
        "defense.decoys": 1,
        "defense.kind": "strangers",
        "defense.share": 1.0,
        "defense.pretrained": False,
    },
    {
        "defense.decoys": 3,
        "defense.kind": "strangers",
        "defense.share": 0.5,
        "defense.pretrained": True,
    },
]

OBJECTIVES = {"accuracy": "max", "attack_success": "min"}

CONSTRAINTS = {"accuracy_loss": 1.0}
