"""The doctor's verdict on a dataset in words, the same for `centerkp check` and for training that refuses it."""

from collections.abc import Sequence

from centerkp.doctor.findings import Finding, exit_code
from centerkp.labels.content import Paths, list_words, name_paths
from centerkp.labels.faults import SHOWN
from centerkp.wording import count_of


def verdict(findings: Sequence[Finding]) -> str:
    """The doctor's verdict in one sentence: whether training would stop, and what there is to do."""

    def count(level: str, part: str | None = None) -> int:
        own = [f for f in findings if f.level == level and not f.is_misread]
        return sum(part is None or f.part == part for f in own)

    unusable, misread = count("unusable"), sum(f.is_misread for f in findings)
    if unusable:
        more = f", and --fix mends {_count_kinds(misread)}" if misread else ""
        return f"Training would stop: {_count_kinds(unusable)} need{'s' * (unusable == 1)} your hand{more}."
    if misread:
        return f"Training would stop until --fix mends {_count_kinds(misread)}."
    todo = []
    if own := count("mendable", ""):
        todo.append(f"--fix mends {_count_kinds(own)}")
    if in_val := count("mendable", "val"):
        todo.append(f"the validation file has {_count_kinds(in_val)} that 'centerkp check' of that file mends with --fix")
    if doubts := count("suspicious"):
        todo.append(f"{count_of(doubts, 'finding')} to look at")
    if todo:
        return f"Can be trained on; {', '.join(todo[:-1])}{' and ' * (len(todo) > 1)}{todo[-1]}."
    return "Nothing is wrong: ready to train."


def _count_kinds(number: int) -> str:
    """So many kinds of fault in words, for the doctor's verdict."""
    return f"{count_of(number, 'kind')} of fault{'s' * (number > 1)}"


def require_trainable(path: Paths, findings: Sequence[Finding], val: Paths | None = None) -> None:
    """Refuses what `centerkp check` says that training would stop at, in the same words, all of it in one report.

    Args:
        path: of the file that the findings are about; `val` of the validation file, for those of its part.

    Raises:
        ValueError: with the command that mends what can be mended.
    """
    if exit_code(findings) < 2:
        return
    grave = [finding for finding in findings if finding.level == "unusable" or finding.is_misread]
    lines = [f"{name_paths(path)}: {verdict(findings)}"]
    for finding in grave:
        lines.append(f"- {finding.headline}{f': {finding.remedy}' if finding.remedy else ''}")
        lines += [f"    {place}" for place in finding.places[:SHOWN]]
        hidden = len(finding.rows) - len(finding.places)
        lines += [f"    and {hidden} more"] if finding.places and hidden > 0 else []
    for files in dict.fromkeys(list_words(val if finding.part else path) for finding in grave):
        lines.append(f"All that was found, and what can be mended: centerkp check {files} --fix mended.json")
    raise ValueError("\n".join(lines))
