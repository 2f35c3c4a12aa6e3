"""One part: its pictures through the detector, and the rows of what was found as a Parquet file that is whole or not there."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from centerkp.bulk.sources import open_place, read_part
from centerkp.console import import_extra
from centerkp.inference.detect import detect
from centerkp.inference.image_result import ImageResult
from centerkp.inference.model_loading import load_detector
from centerkp.inference.scores import choose_least_scores
from centerkp.results import Detection
from centerkp.writing import replacing

# Which files are which part, and of which model the results are; who reads a folder of Parquet leaves out such names.
MANIFEST = "_manifest.parquet"
ROWS = 500  # of a part that wait in memory to be written


@dataclass(frozen=True)
class Job:
    """What is predicted, by what, and where the results go; `threads` are those that read pictures in each worker."""

    source: str
    weights: str
    out: str
    score: float | None = None
    max_objects: int | None = None
    batch_size: int = 8
    threads: int = 1


def part_name(part: int) -> str:
    """The name of a part's file among the results; half written it is called otherwise."""
    return f"predictions-{part:06d}.parquet"


@contextmanager
def whole_file(folder: str, name: str) -> Iterator[Path]:
    """Gives a path on the disk to write to, which becomes a file of a local or remote folder when the block ends."""
    files, root = open_place(folder)
    if files.type_name == "local":
        with replacing(Path(root, name)) as part:
            yield part
        return
    fs = import_extra("pyarrow.fs", "ray")
    with TemporaryDirectory() as here:
        yield (part := Path(here, name))
        fs.copy_files(str(part), f"{root}/{name}", source_filesystem=fs.LocalFileSystem(), destination_filesystem=files)


class Worker:
    """Holds the detector in a process of Ray's and is called with one part after another.

    It loads the detector when it is first called: of what is raised before that, Ray would show its own stack alone.
    """

    def __init__(self, job: Job):
        self.job = job
        self._loaded: Any = None  # the detector and its least scores

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, list]:
        """Does the one part of a batch, and says what came of it, in lists of length 1.

        `fault` is a sentence where the part could not be done at all, which ends the run: not for a picture, that is a row.
        """
        part = int(batch["part"][0])
        answer: dict[str, Any] = {"parts": 1, "images": 0, "objects": 0, "unread": 0}
        answer |= {"error": "", "least": "", "fault": "", "started": 0.0}
        try:
            if self._loaded is None:
                detector = load_detector(self.job.weights, max_objects=self.job.max_objects)
                self._loaded = detector, choose_least_scores(detector, self.job.score)
            answer |= {"least": self._loaded[1].sentence, "started": time.time()}
            self._write_part(part, answer)
        except Exception as error:  # Ray would wrap it in pages of its own
            ours = isinstance(error, ValueError | OSError)
            answer["fault"] = str(error) if ours else f"{part_name(part)}: {type(error).__name__}: {error}"
        return {name: [value] for name, value in (answer | {"ended": time.time()}).items()}

    def _write_part(self, part: int, answer: dict) -> None:
        """Predicts the pictures of a part and writes their rows, and counts them in `answer`."""
        pyarrow, parquet = import_extra("pyarrow", "ray"), import_extra("pyarrow.parquet", "ray")
        files, root = open_place(self.job.out)
        listed = parquet.read_table(f"{root}/{MANIFEST}", filesystem=files, filters=[("part", "=", part)])
        pictures = read_part(self.job.source, listed["path"].to_pylist())
        detector, least = self._loaded
        schema, rows = make_schema(), []
        threads, batch_size = self.job.threads, self.job.batch_size
        with whole_file(self.job.out, part_name(part)) as path, parquet.ParquetWriter(path, schema) as writer:
            for result in detect(detector, pictures, batch_size=batch_size, min_score=least.values, threads=threads):
                rows.append(make_row(result, self.job.max_objects))
                answer["images"] += 1
                answer["objects"] += len(rows[-1]["objects"])
                answer["unread"] += bool(result.error)
                answer["error"] = answer["error"] or result.error
                if len(rows) == ROWS:
                    writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                    rows.clear()
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def make_schema() -> Any:
    """The columns of the results, named as in `results.ROW_COLUMNS`: a row per picture, its objects and their points lists."""
    pa = import_extra("pyarrow", "ray")
    number, text = pa.float32(), pa.string()
    point = {"keypoint": text, "x": number, "y": number, "keypoint_score": number, "keypoint_deviation": number}
    found = {"class_name": text, "score": number, "x0": number, "y0": number, "x1": number, "y1": number}
    found["keypoints"] = pa.list_(pa.struct(point.items()))
    row = {"image": text, "width": pa.int32(), "height": pa.int32(), "error": text}
    return pa.schema((row | {"objects": pa.list_(pa.struct(found.items()))}).items())


def make_row(result: ImageResult, max_objects: int | None) -> dict:
    """The row of one picture: `error` is None where it could be read, else it has no size and no objects."""
    width, height = (None, None) if result.error else result.size
    objects = [_describe(detection) for detection in result.detections[:max_objects]]
    return {"image": result.name, "width": width, "height": height, "error": result.error or None, "objects": objects}


def _describe(found: Detection) -> dict:
    """One object of a picture's row."""
    names, sides = ("keypoint", "x", "y", "keypoint_score", "keypoint_deviation"), ("x0", "y0", "x1", "y1")
    deviations = [None] * len(found.keypoint_names) if found.keypoint_deviations is None else found.keypoint_deviations.tolist()
    columns = (found.keypoint_names, *found.keypoints_xy.T.tolist(), found.keypoint_scores.tolist(), deviations)
    points = [dict(zip(names, point, strict=True)) for point in zip(*columns, strict=True)]
    box = dict(zip(sides, found.box_xyxy.tolist(), strict=True))
    return {"class_name": found.class_name, "score": found.score, **box, "keypoints": points}
