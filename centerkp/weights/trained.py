"""Which file a trained model is in."""

from pathlib import Path


def find_model(weights: str | Path) -> str | Path:
    """The weights themselves, or `best.keras` where they name the folder of a training run.

    Raises:
        FileNotFoundError: a run without one: not evaluated yet, or with folds, each of which has its own.
    """
    run = Path(weights)
    if not (run / "settings.json").is_file():
        return weights
    if (best := run / "best.keras").is_file():
        return best
    if folds := sorted(run.glob("fold_*/best.keras")):
        raise FileNotFoundError(
            f"{run}: found a run with a model for each fold, expected one model; name one of them, as {folds[0]}, or train "
            "without --folds."
        )
    raise FileNotFoundError(
        f"{run}: found a run without best.keras, which its first evaluation writes, expected a trained model; go on with "
        f"centerkp train --resume {run}."
    )
