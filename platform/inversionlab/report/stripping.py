"""What a white-box attacker takes off a defense, in words."""

from collections.abc import Sequence

from inversionlab.report.audit.compare import Column, columns
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import listed, percent, words

NOT_JUDGED = "Such attacks were made in this run, and their success is not judged."


def partial_protection(results: RunResults) -> list[str]:
    """A line for each defense that comes off, wholly or in part.

    Defenses that come off alike share a line where no such attack was tried on them.
    """
    groups: dict[tuple[str, str], list[Column]] = {}
    for column in columns(results):
        left = column.model.left if column.model else ""
        if left or any(row.stripped for row in column.rows):
            cell = column.rows[0].cell
            groups.setdefault((cell.title or cell.defense, left), []).append(column)
    attacked: list[str] = []
    spared: dict[tuple[str, str], list[str]] = {}
    for (title, left), group in groups.items():
        name = f"“{group[0].name if len(group) == 1 else words(title)}”"
        protects = group[0].model.protects if group[0].model else ""
        stripped = [row for column in group for row in column.rows if row.stripped]
        worst = results.strongest(stripped)
        if worst is None and any(row.done for row in stripped):
            attacked.append(stripping_line([name], protects, left, NOT_JUDGED))
            continue
        if worst is None:
            spared.setdefault((protects, left), []).append(name)
            continue
        attack = worst.attack.attack
        same = [r for c in group for r in c.rows_of(attack) if not r.stripped and r.by_evaluator]
        released = [r.by_evaluator[worst.evaluator].success.value for r in same]
        found = stripped_success(attack, worst.success.value, released, results.guesses)
        attacked.append(stripping_line([name], protects, left, found))
    return attacked + [stripping_line(names, *kind) for kind, names in spared.items()]


def stripping_line(
    names: Sequence[str], protects: str, left: str, found: str = "", *, where: str = "run"
) -> str:
    """The line on defenses that a white-box attacker removes, wholly or in part.

    Args:
        names: what the defenses are called.
        protects: the attackers that they claim to stop, "scores, labels"; "": not known.
        left: the title of the defense that such an attacker is left with; "": not known.
        found: a sentence on what such an attack found; "": there was none.
        where: "run" or "search", for the sentence that there was none.
    """
    s, them = ("", "them") if len(names) > 1 else ("s", "it")
    if not protects:
        stops = f"protect{s} in some views only"
    elif "white box" in protects:
        stops = f"come{s} off in part"
    else:
        seen = protects.replace(", ", " or ")
        stops = f"protect{s} only against attackers who see no more than {seen}"
    rest = {"": "less", "none": "the undefended model"}.get(left, f"“{words(left)}”")
    nobody = f"Nobody who holds the weights has attacked {them} in this {where}."
    return (
        f"{listed(names)} {stops}: an attacker who holds the weights takes the perturbation off and is left "
        f"with {rest}. {found or nobody}"
    )


def stripped_success(attack: str, share: float, released: Sequence[float], k: int) -> str:
    """What an attack finds on what is left in k guesses, against its shares on the models as they are released."""
    line = f"The attack “{words(attack)}” then has {percent(share)} top-{k} success"
    if not released:
        return f"{line}."
    span = " to ".join(dict.fromkeys(percent(s) for s in (min(released), max(released))))
    return f"{line}, against {span} on what is released."
