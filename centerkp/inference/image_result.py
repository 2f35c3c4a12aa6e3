"""What was found in one image, and in many: to look at, to draw, and to hand on as COCO JSON or as a table."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from centerkp.drawing.pictures import draw_detections
from centerkp.images.oddities import Oddity
from centerkp.images.packed import ZippedImage
from centerkp.images.reading import read_image
from centerkp.images.sensors import Levels
from centerkp.results import ROW_COLUMNS, Detection, coco_dataset, to_rows
from centerkp.schema import Schema

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class ImageResult:
    """What was found in one image; as a sequence, its detections, best first.

    Attributes:
        name: what messages and files call the image, for one from a file the path.
        path: of its file, or its place in a zip archive; None for an image that came from elsewhere.
        size: (width, height) in pixels, upright; (0, 0) when the image could not be read.
        detections: in pixels of the upright image, best first.
        schema: the classes and keypoints the detector knows.
        error: why the image could not be read, else empty; then there are no detections.
        pixels: the image itself where it is kept in memory.
        oddities: what is odd about its file, see `images.oddities`.
        levels: with which it was read, see `images.reading.read_image`.
    """

    name: str
    path: Path | ZippedImage | None
    size: tuple[int, int]
    detections: Sequence[Detection]
    schema: Schema
    error: str = ""
    pixels: np.ndarray | None = field(default=None, repr=False)
    oddities: Sequence[Oddity] = ()
    levels: Levels | None = None

    def __len__(self) -> int:
        return len(self.detections)

    def __getitem__(self, index: int) -> Detection:
        return self.detections[index]

    def __iter__(self) -> Iterator[Detection]:
        return iter(self.detections)

    @property
    def image(self) -> np.ndarray | None:
        """The result's image (H, W, 3) uint8 RGB, upright; read again from `path` if not kept; None if unreadable."""
        is_known = self.pixels is not None or self.error or self.path is None
        return self.pixels if is_known else read_image(self.path, self.levels)

    def plot(self, *, min_keypoint_score: float = 0.1, labels: bool = True) -> np.ndarray:
        """The result's image (H, W, 3) uint8 RGB with objects drawn, for `Image.fromarray` or `imshow`.

        Raises:
            ValueError: the image could not be read; says why.
        """
        if self.error:
            raise ValueError(self.error)
        return draw_detections(self.image, self.detections, self.schema, min_keypoint_score=min_keypoint_score, labels=labels)

    def to_coco(self) -> dict:
        """A COCO dataset of this one image and what was found in it, see `results.coco_dataset`."""
        return Predictions([self], self.schema).to_coco()

    def to_rows(self) -> list[dict]:
        """What was found in this image, one row per object and keypoint, see `results.to_rows`."""
        return to_rows(self.name, self.detections)

    def to_dataframe(self) -> "pandas.DataFrame":
        """What was found in this image as a pandas DataFrame; ImportError where pandas is not installed."""
        return Predictions([self], self.schema).to_dataframe()


class Predictions(list[ImageResult]):
    """The results of many images, in order: a list that can also be handed on as a whole."""

    def __init__(self, results: Iterable[ImageResult], schema: Schema):
        super().__init__(results)
        self.schema = schema

    def to_coco(self) -> dict:
        """A COCO dataset of what was found in all images that could be read, numbered from 1, see `results`."""
        readable = [result for result in self if not result.error]
        images = [
            {"id": number, "file_name": r.name, "width": r.size[0], "height": r.size[1]} for number, r in enumerate(readable, 1)
        ]
        return coco_dataset(images, [r.detections for r in readable], self.schema)

    def to_rows(self) -> list[dict]:
        """The results of all images, one row per object and keypoint, see `results.to_rows`."""
        return [row for result in self for row in result.to_rows()]

    def to_dataframe(self) -> "pandas.DataFrame":
        """The results of all images as a pandas DataFrame; ImportError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise ImportError(
                "to_dataframe: found no package pandas, which makes the table; install it with pip install pandas, or use "
                "to_rows(), which needs nothing."
            ) from None
        return pandas.DataFrame(self.to_rows(), columns=list(ROW_COLUMNS))
