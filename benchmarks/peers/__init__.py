"""Our attacks against the loops of their peers, written again from papers and public defaults.

    python -m benchmarks.peers --quick                          # networks of made-up faces, about five minutes
    python -m benchmarks.peers --recipe jobs/recipes/lfw_attacks.yaml --storage runs --set data.root=/data/lfw64

Each peer has a file here with one plain PyTorch loop and a card: paper, where each default comes from, batch,
momentum or Adam, candidates, final choice, and what is left out. A peer runs on the plain float32 networks,
batched as its authors batch; no row leaves early, unless the authors let it. Ours runs as a worker runs it. Both
have the same victim, generator, evaluator (the recipe's first) and targets, one picture a target.

*Defaults*: the peer at its authors' settings. Only what small generators force is changed, and its card says
what. Such a run may take hours, so it is cut off after `--cap` times our seconds; a line says so. *Equal cost*:
the peer makes as many updates a target as ours does on average, from one start or candidate, and scores as many
samples.

Seconds are CPU-seconds of this process on one thread, without the evaluator's, a target. Targets are cut into
rounds. In a round, ours and both runs of the peer take turns on the same targets, and the medians of the rounds
count. A peer's curve of success against seconds is that of one run, looked at on the way: a point is what the
loop would hand out if it ended there, final choice and its seconds included. A point of our curve is a run of
its own, with a share of our updates.

**Ratio**: let L be the smaller of the two curves' highest successes (top-5 by default, `--top`), which both
reach. A curve's time to L is where it first reaches L, linear from the point before (with its best success so
far) to the first point that is not below L, or that point's seconds if it is the curve's first. The ratio is the
peer's time to L over ours. Its interval is the middle 95 % over draws of the targets with replacement, the same
for both. L must lie above chance, `--top` over the number of people. Where only ours finds more, the ratio is
infinite if the peer's loop came to its end, and otherwise a lower bound: its whole time over ours to the first
success above chance.
"""
