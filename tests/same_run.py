"""Whether two run folders hold the same run."""

import keras
import numpy as np

import centerkp
from centerkp.training.run_folder import RunFolder


def assert_same_run(ours: RunFolder, theirs: RunFolder) -> None:
    """The log, but for the clock, the scores, and all numbers of both models and their optimizers, bit for bit."""
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in folder.read_log()] for folder in (ours, theirs)]
    assert rows[0] == rows[1]
    assert ours.scores.read_bytes() == theirs.scores.read_bytes()
    for name in ("best", "last"):
        one, other = (centerkp.load_model(getattr(folder, name)) for folder in (ours, theirs))
        assert one.trained_epochs == other.trained_epochs and one.unfinished is None
        for a, b in zip(list_variables(one), list_variables(other), strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), a.path)


def list_variables(model) -> list:
    """Weights, and where the file goes on with training the optimizer's."""
    return [*model.weights, *(model.optimizer.variables if model.compiled else ())]
