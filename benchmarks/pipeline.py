"""Input pipeline: images per second, from JPEG files to batches.

The imports of the package stand inside the functions: the program that starts the cases must stay small, see `measure`.
"""

import tempfile
from pathlib import Path

import measure
import page

WIDTH, HEIGHT, SIZE = 640, 360, 512
BATCH = 16
OBJECTS, KEYPOINTS = 5, 17
FILES = 64

METHOD = f"""\
{FILES} JPEG files of {WIDTH}x{HEIGHT} pixels (16 of 4032x2268), written by the program itself (gradients, blotches and
noise, so that they decode like photographs of their size), each with {OBJECTS} objects of {KEYPOINTS} keypoints, become
batches of {BATCH} at {SIZE}x{SIZE} through `make_batches`, the road that training takes. "affine and colour" is a training
sample (flip, scale, rotation, translation, colours), "letterbox" a validation sample. A pass over {{images}} images (64
of the large ones), the files in turn and already in the system's file cache, is one measurement, after one pass that is
not counted, in which the cache "ram" keeps what it decodes; the range is that of the slowest and the fastest pass.
"GFLOP an image" is the time of one image multiplied with the matrix-product rate of all cores measured in the same
process: what the machine could have multiplied meanwhile."""


def list_cases(quick: bool) -> list[dict]:
    if quick:
        return [{"sample": "affine and colour", "threads": 2, "images": 32}]
    samples = ("affine and colour", "letterbox")
    cases = [{"sample": sample, "threads": threads, "images": 256} for sample in samples for threads in (1, 2)]
    # What `--cache ram` is for: pictures as telephones take them, and small ones beside them.
    large = {"sample": "affine and colour", "threads": 2, "images": 64, "width": 4032, "height": 2268, "files": 16}
    return cases + [case | {"cache": "ram"} for case in cases if case["threads"] == 2] + [large, large | {"cache": "ram"}]


def name_case(case: dict) -> str:
    return f"{case['sample']}, {_name_size(case)}, threads: {case['threads']}, cache: {case.get('cache', 'none')}"


def _name_size(case: dict) -> str:
    return f"{case.get('width', WIDTH)}x{case.get('height', HEIGHT)}"


def measure_case(
    sample: str, threads: int, images: int, width: int = WIDTH, height: int = HEIGHT, files: int = FILES, cache: str = "none"
) -> dict:
    from centerkp.images.reading import read_image
    from centerkp.samples.augment import Augmentation
    from centerkp.samples.cache import ImageCache
    from centerkp.samples.pipeline import make_batches
    from centerkp.samples.sample import Sampler
    from centerkp.schema import Schema

    augmentation = Augmentation() if sample == "affine and colour" else None
    read = ImageCache() if cache == "ram" else read_image
    sampler = Sampler(Schema.generic(1, KEYPOINTS), (SIZE, SIZE), augmentation=augmentation, read=read)
    with tempfile.TemporaryDirectory() as folder:
        records = write_records(Path(folder), width, height, files)
        kilobytes = sum(record.path.stat().st_size for record in records) / len(records) / 1e3
        records = [records[i % len(records)] for i in range(images)]
        batches = make_batches(records, sampler, BATCH, seed=0, shuffle=True, threads=threads)

        def read_all():
            for _ in batches:
                pass

        read_all()
        rates = measure.sample_rates()
        times = measure.sample_times(read_all)
        rates += measure.sample_rates()
    return {"seconds": [t / images for t in times], "rates": rates, "kilobytes": kilobytes}


def write_records(folder: Path, width: int = WIDTH, height: int = HEIGHT, files: int = FILES) -> list:
    """Writes the JPEG files and returns one record for each."""
    import cv2
    import numpy as np

    from centerkp.labels.records import Record

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    records = []
    for i in range(files):
        slope = rng.uniform(-80, 80, 2)
        gradient = slope[0] * (columns / width - 0.5) + slope[1] * (rows / height - 0.5)
        blotches = cv2.resize(rng.normal(0, 40, (12, 20, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
        noise = rng.normal(0, 9, blotches.shape)
        image = np.clip(128 + gradient[..., None] + blotches + noise, 0, 255).astype(np.uint8)
        path = folder / f"{i:03d}.jpg"
        if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 90]):
            raise OSError(f"{path}: the image could not be written; is the disk full?")
        low = rng.uniform((0, 0), (width / 2, height / 2), (OBJECTS, 2))
        extent = rng.uniform((30, 30), (width / 2, height / 2), (OBJECTS, 2))
        points = low[:, None] + rng.uniform(0, 1, (OBJECTS, KEYPOINTS, 2)) * extent[:, None]
        records.append(
            Record(
                image_id=i,
                path=path,
                file_name=path.name,
                width=width,
                height=height,
                boxes_xyxy=np.concatenate([low, low + extent], axis=1).astype(np.float32),
                class_ids=np.zeros(OBJECTS, np.int32),
                keypoints_xy=points.astype(np.float32),
                visibility=np.full((OBJECTS, KEYPOINTS), 2, np.uint8),
                is_crowd=np.zeros(OBJECTS, bool),
                areas=extent.prod(axis=1).astype(np.float32),
                annotation_ids=np.arange(OBJECTS),
            )
        )
    return records


def describe(row: dict) -> str:
    return f"{1 / page.median(row['seconds']):.0f} images/s"


def write_section(rows: list[dict]) -> str:
    header = ["sample", "pixels a file", "cache", "threads", "images/s", "range", "ms an image", "GFLOP an image", "kB a file"]
    lines = []
    for row in rows:
        start = [row["sample"], _name_size(row), row.get("cache", "none"), row["threads"]]
        if "error" in row:
            lines.append([*start, row["error"]])
            continue
        speeds, seconds = [1 / s for s in row["seconds"]], page.median(row["seconds"])
        spread = f"{min(speeds):.0f} to {max(speeds):.0f}"
        work = seconds * page.median(row["rates"]) / 1e9
        lines.append([*start, f"{1 / seconds:.0f}", spread, f"{seconds * 1e3:.2f}", f"{work:.2f}", f"{row['kilobytes']:.0f}"])
    return f"## Input pipeline\n\n{page.table(header, lines)}\n\n{page.paragraph(METHOD.format(images=rows[0]['images']))}\n"
