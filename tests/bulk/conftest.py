"""A folder of pictures of every kind of file, and a tiny model."""

import io
import shutil
import tarfile

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from centerkp.schema import Schema

CATEGORIES = [{"id": 1, "name": "bee", "keypoints": ["head", "sting"]}, {"id": 2, "name": "fly"}]


def draw_picture(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (40, 30), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", picture)[1].tobytes()


def write_tar(path, members) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def write_records(path, names) -> None:
    import tensorflow

    with tensorflow.io.TFRecordWriter(str(path)) as writer:
        for seed, name in enumerate(names):
            example = tensorflow.train.Example()
            example.features.feature["image/encoded"].bytes_list.value.append(draw_picture(seed))
            if name:
                example.features.feature["image/filename"].bytes_list.value.append(name.encode())
            writer.write(example.SerializeToString())


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The file of a tiny network that finds something everywhere."""
    from centerkp.weights.start import build_model

    tiny = {"stem_channels": 1, "channels": (1, 1), "blocks": (1, 1), "stacks": 1}
    path = tmp_path_factory.mktemp("model") / "m.keras"
    build_model(Schema.from_coco({"categories": CATEGORIES}), backbone=tiny, image_size=32).save(path)
    return path


@pytest.fixture(scope="session")
def exported(model):
    """The same for ONNX Runtime, whose processes start in a tenth of the time that Keras's take."""
    from centerkp.export.formats import export

    (picture := model.parent / "a.png").write_bytes(draw_picture(0))
    return export(model, "onnx", calibrate=[picture], console=Console(quiet=True)).path


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """20 pictures: 13 files, one of them damaged, 3 in a tar, 2 in a Parquet file, 2 in TFRecords; and what is none."""
    folder = tmp_path_factory.mktemp("made") / "source"
    (folder / "sub").mkdir(parents=True)
    for seed in range(12):
        (folder / "sub" / f"{seed:02d}.png").write_bytes(draw_picture(seed))
    (folder / "sub" / "05b.png").write_bytes(b"no picture")
    write_tar(
        folder / "t.tar", {f"{n}.{e}": draw_picture(n) if e == "png" else b"{}" for n in range(3) for e in ("json", "png")}
    )
    table = {"label": [3, 4], "image": pa.array([{"bytes": draw_picture(n), "path": "a.png"} for n in range(2)])}
    pq.write_table(pa.table(table), folder / "p.parquet")
    write_records(folder / "r.tfrecord-00000-of-00001", ["named.png", ""])
    (folder / "notes.txt").write_text("none")
    return folder


@pytest.fixture()
def source(made, tmp_path):
    return shutil.copytree(made, tmp_path / "source")
