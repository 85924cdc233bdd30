"""The command line of the peers' benchmark; `benchmarks/peers/__init__.py` says what is measured."""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.arena import Arena, enter, prepare
from benchmarks.bound import measure
from benchmarks.peers import __doc__ as about
from benchmarks.peers.curves import Curve, Ratio, paired_ratio
from benchmarks.peers.judge import Judge
from benchmarks.peers.rounds import PEERS, Duel, duel

TRAINING = (
    "{epochs: 8, batch_size: 32, learning_rate: 0.001, schedule: constant, weight_decay: 0.0}"
)
GAN = f"latent_size: 32, width: 8, discriminator_width: 12, training: {TRAINING}"
ARENA = (
    "data.image_size=16",
    "public_data.image_size=16",
    "data.people=64",
    "data.pictures_per_person=16",
    "split.private_people=60",
    "public_data.people=300",
    f"generator={{name: style_gan, style_size: 32, {GAN}}}",
    f"generators={{critic: {{name: wgan_gp, {GAN}}}, classes: {{name: ked_gan, {GAN}}}}}",
    "attacks=[{name: mi_face}, {name: gmi, generator: critic}, "
    "{name: ked_mi, generator: classes}, {name: mirror}, {name: ppa}]",
)
"""Changes of the arena's recipe: more people, smaller pictures, and a generator for each family of attacks."""
HEAD = f"{'':10} {'':9} {'top-1':>20} {'top-5':>20} {'seconds':>9} {'updates':>9}"


def row(name: str, side: str, curve: Curve) -> str:
    """One attack's line of the table: the end of its curve."""
    shares = [curve.success(top) for top in (1, 5)]
    found = [f"{s.value:6.1%} ({s.low:.1%}-{s.high:.1%})" for s in shares]
    cut = "  cut off" if curve.cut else ""
    return (
        f"{name:10} {side:9} {found[0]:>20} {found[1]:>20} {curve.end.seconds:9.4f} "
        f"{curve.end.updates:9.0f}{cut}"
    )


def verdict(found: Duel, top: int, people: int) -> tuple[str, dict[str, Ratio]]:
    """A peer's last line, and its ratios."""
    ratios = {
        "defaults": paired_ratio(found.defaults, found.ours, top, people),
        "equal": paired_ratio(found.equal, found.ours, top, people),
    }
    at = {key: f"(at {each.level:.0%} top-{top})" for key, each in ratios.items()}
    line = (
        f"peer {found.peer.name:8} against {found.peer.ours}: at its defaults ratio {ratios['defaults']} "
        f"{at['defaults']}, at equal cost ratio {ratios['equal']} {at['equal']}"
    )
    return line, ratios


def bounded(arena: Arena, name: str, rows: int, rounds: int) -> tuple[str, float]:
    """The line of the second bound, and our attack's share of it."""
    found = measure(arena, name, rows, rounds)
    text = (
        f"bound {name}: an update costs {1000 * found.update:.2f} ms at batch {found.batch}; "
        f"the bound is {found.share:.0%} of our seconds"
    )
    return text, found.share


def written(folder: Path, duels: list[Duel], last: dict[str, dict[str, Any]]) -> None:
    """Write `peers.json` (everything) and `curves.csv` (a line a point)."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for found in duels:
        for side in ("ours", "defaults", "equal"):
            curve: Curve = getattr(found, side)
            for point in curve.points:
                lines.append(
                    {
                        "peer": found.peer.name,
                        "side": side,
                        "updates": point.updates,
                        "seconds": point.seconds,
                        "top1": int((point.rank_N <= 1).sum()),
                        "top5": int((point.rank_N <= 5).sum()),
                        "targets": curve.targets,
                        "cut": curve.cut,
                    }
                )
            last[found.peer.name][f"{side}_ranks"] = curve.end.rank_N.tolist()
    with (folder / "curves.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, lines[0].keys())
        table.writeheader()
        table.writerows(lines)
    text = json.dumps({"peers": last, "points": lines}, indent=1)
    (folder / "peers.json").write_text(text, encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="an earlier cut: about five minutes on an idle core")
    add("--recipe", type=Path, help="an experiment whose networks an audit has trained")
    add("--set", action="append", default=[], metavar="A.B=C", help="override a setting of it")
    add("--storage", type=Path, help="where its networks are; without a recipe, where to keep them")
    add("--peers", nargs="+", choices=PEERS, default=[*PEERS], help="which; default: all")
    add("--targets", type=int, default=50, help="people, each attacked once")
    add("--rounds", type=int, default=3, help="turns of the compared runs, each on its own targets")
    add("--cap", type=float, help="cut a peer's defaults after so many times our seconds")
    add("--top", type=int, default=5, help="success is a rank of at most this")
    add("--judge", help="the recipe's evaluator that decides; default: the first")
    add("--bound", action="store_true", help="the second bound, and our share of it")
    add("--out", type=Path, help="a folder for peers.json and curves.csv")
    add("--device", default="cpu", help="cpu or cuda")
    given = parser.parse_args()
    if given.recipe is not None and given.storage is None:
        parser.error("--recipe needs --storage, where its networks are")
    if not 1 <= given.rounds <= given.targets:
        parser.error(f"--rounds {given.rounds}: choose 1 to {given.targets}, the number of targets")
    return given


def main() -> None:
    """Open the arena, let each peer and ours take turns, print."""
    given = _options()
    torch.set_num_threads(1)
    cap = given.cap or (4.0 if given.quick else 40.0)
    wanted = [PEERS[name] for name in given.peers]
    duels, last, lines = list[Duel](), dict[str, dict[str, Any]](), list[str]()
    with ExitStack() as stack:
        folder = given.storage or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        assignments = [*(ARENA if given.recipe is None else ()), *given.set]
        assignments.append(f"targets={{count: {given.targets}, repeats: 1}}")
        attacks = list(dict.fromkeys(peer.ours for peer in wanted))
        device = torch.device(given.device)
        spec = prepare(given.recipe, assignments, folder, attacks, device, given.judge)
        arena = enter(spec, device)
        judge, jobs = Judge.of(arena.session), arena.jobs(given.targets)
        chunks = [jobs[number :: given.rounds] for number in range(given.rounds)]
        people = len(arena.session.builder.splits.people)
        print(HEAD, flush=True)
        for peer in wanted:
            found = duel(arena, peer, judge, chunks, cap)
            duels.append(found)
            print(row(peer.name, "defaults", found.defaults), flush=True)
            print(row("", "equal", found.equal), flush=True)
            print(row(f"  {peer.ours}", "ours", found.ours), flush=True)
            line, ratios = verdict(found, given.top, people)
            lines.append(line)
            last[peer.name] = {
                "ours": peer.ours,
                "settings": vars(peer.defaults),
                "ratios": {key: vars(each) for key, each in ratios.items()},
            }
            if given.bound:
                text, last[peer.name]["share_of_bound"] = bounded(
                    arena, peer.ours, len(chunks[0]), given.rounds
                )
                lines.insert(0, text)
    if given.out is not None:
        written(given.out, duels, last)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
