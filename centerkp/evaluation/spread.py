"""Several evaluations of the same kind of model, as the folds of a run: mean and spread of every number."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from centerkp.evaluation.evaluate import Evaluation
from centerkp.evaluation.tables import TextTable, share

_OVERALL = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def measure_spread(evaluations: Sequence[Mapping]) -> dict[str, Any]:
    """Mean and spread of every number in evaluations, under the names that `Evaluation.to_dict` gives them.

    In the place of each number stand `values`, one for each evaluation and None where its images could not decide it, their
    `mean`, and `spread`, the standard deviation as estimated from them; None with fewer than one or two.
    """
    found = {}
    for key in dict.fromkeys(key for one in evaluations for key in one):
        values = [one.get(key) for one in evaluations]
        if any(isinstance(value, Mapping) for value in values):
            found[key] = measure_spread([value or {} for value in values])
        elif any(_is_number(value) for value in values):
            known = [value for value in values if _is_number(value)]
            spread = stdev(known) if len(known) > 1 else None
            found[key] = {"mean": fmean(known), "spread": spread, "values": values}
    return found


def _is_number(value: Any) -> bool:
    """Whether an evaluation has a number there; None is one that nothing could decide, and texts and lists are none."""
    return isinstance(value, int | float)


def spread_table(numbers: Mapping[str, Any], whole: Evaluation) -> TextTable:
    """The table of the numbers that training shows: mean, spread, lowest and highest, beside those of all images together."""
    rows = [_row(f"box {key}", numbers["box"], key, whole.box[key]) for key in (*_OVERALL, "AR100")]
    if whole.keypoints_per_class:
        keys = [key for key in (*_OVERALL, "AR") if key in whole.keypoints]
        rows += [_row(f"OKS {key}", numbers["keypoints"], key, whole.keypoints[key]) for key in keys]
        rows.append(_row("PCK@0.1", numbers, "pck", whole.pck))
    for name, value in whole.box_per_class.items():
        rows += [(name,), _row("  box AP", numbers["box_per_class"], name, value)]
        if name in whole.keypoints_per_class:
            own = numbers["keypoints_per_class"].get(name, {})
            rows.append(_row("  OKS AP", own, "AP", whole.keypoints_per_class[name]["AP"]))
            rows.append(_row("  PCK@0.1", numbers["pck_per_class"], name, whole.pck_per_class[name]))
    return TextTable("Over the folds", ("", "mean", "spread", "lowest", "highest", "all images"), tuple(rows))


def _row(title: str, numbers: Mapping[str, Any], key: str, whole: float | None) -> tuple[str, ...]:
    """A line of the table of the spread: one number over the evaluations."""
    one = numbers.get(key, {})
    known = [value for value in one.get("values", ()) if value is not None]
    cells = (one.get("mean"), one.get("spread"), min(known, default=None), max(known, default=None), whole)
    return (title, *map(share, cells))
