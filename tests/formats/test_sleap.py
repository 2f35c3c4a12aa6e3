"""SLEAP: what sleap-io gives becomes objects; frames of videos are written first."""

import importlib.util
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from coco_files import write_picture

from centerkp.cli import main
from centerkp.formats import hdf5, sleap
from centerkp.images.reading import read_image
from centerkp.labels.coco import read_coco


def labels_of(video, name="fly"):
    """Labels as sleap-io's classes have them: one instance set by hand with a point that is not there, one predicted."""
    skeleton = SimpleNamespace(name=name, node_names=["tip", "end", "leg"], edge_inds=[(0, 1), (1, 2)])
    places = np.array([[6, 8], [20, 22], [np.nan, np.nan]])
    user = SimpleNamespace(skeleton=skeleton, numpy=lambda: places)
    pixels = np.full((30, 40, 1), 90, np.uint8)
    frame = SimpleNamespace(
        video=SimpleNamespace(filename=video), frame_idx=1, instances=[user, user], user_instances=[user], image=pixels
    )
    return SimpleNamespace(skeletons=[skeleton], labeled_frames=[frame])


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "x.slp", "w") as file:
        file.create_group("metadata")
        file.create_dataset("frames", data=[1])
    return tmp_path / "x.slp"


def give(monkeypatch, labels):
    reader = SimpleNamespace(load_slp=lambda path, open_videos: labels)
    monkeypatch.setattr(sleap, "import_extra", lambda package, extra: reader)


def test_pictures(tmp_path, file, monkeypatch):
    give(monkeypatch, labels_of(["0.png", "pictures\\1.png"]))
    write_picture(tmp_path / "pictures" / "1.png", 1)
    dataset = read_coco(file)
    (record,) = dataset.records
    assert dataset.schema.class_names == ("fly",) and dataset.schema.classes[0].keypoints == ("tip", "end", "leg")
    assert dataset.schema.classes[0].skeleton == ((0, 1), (1, 2))
    assert record.visibility.tolist() == [[2, 2, 0]] and record.boxes_xyxy.tolist() == [[0, 0, 30, 30]]
    assert dataset.notes[0] == "SLEAP file: 1 image, 1 class (fly), 1 object"
    assert "1 object: predicted by SLEAP, left out" in dataset.notes


def test_frames_of_videos_are_written_by_import(tmp_path, file, monkeypatch, capsys):
    give(monkeypatch, labels_of("/videos/clip.mp4", "Skeleton-0"))
    with pytest.raises(
        ValueError, match=r"x\.slp: found labels on frames of videos such as /videos/clip.mp4, expected pictures.*import"
    ):
        read_coco(file)
    assert main(["import", str(file), str(tmp_path / "out.json")]) == 0
    assert (tmp_path / "out_frames" / "clip_000001.png").is_file()
    dataset = read_coco(tmp_path / "out.json")
    assert dataset.schema.class_names == ("object",) and len(dataset.records) == 1


def join(*several):
    frames = [frame for labels in several for frame in labels.labeled_frames]
    return SimpleNamespace(skeletons=[s for labels in several for s in labels.skeletons], labeled_frames=frames)


@pytest.mark.parametrize(
    "videos, stems",
    [(["/day1/cam.mp4", "/day2/cam.mp4"], ["cam", "cam_2"]), (["C:\\1\\cam.mp4", "D:\\CAM.avi"], ["cam", "CAM_2"]),
     (["x.pkg.slp", "x.pkg.slp", "x.pkg.slp"], ["x.pkg", "x.pkg_2", "x.pkg_3"]),
     (["a/cam_2.mp4", "a/cam.mp4", "b/cam.mp4"], ["cam_2", "cam", "cam_3"])],
)  # fmt: skip
def test_videos_of_one_name_keep_their_pictures(tmp_path, file, monkeypatch, videos, stems):
    several = [labels_of(video) for video in videos]
    for brightness, labels in enumerate(several):
        labels.labeled_frames[0].image = np.full((30, 40, 1), 50 * brightness, np.uint8)
    give(monkeypatch, join(*several))
    assert main(["import", str(file), str(tmp_path / "out.json")]) == 0
    records = read_coco(tmp_path / "out.json").records
    assert [record.path.name for record in records] == [f"{stem}_000001.png" for stem in stems]
    assert [read_image(record.path).max() for record in records] == [50 * n for n in range(len(videos))]


def test_frames_take_the_place_of_no_other_pictures(tmp_path, file, monkeypatch, capsys):
    """A second import under the same name, after the labels of the first were moved, whose pictures stay there."""
    labels = labels_of("/day1/cam.mp4")
    give(monkeypatch, labels)
    assert main(["import", str(file), str(tmp_path / "out.json")]) == 0
    (tmp_path / "out.json").rename(tmp_path / "day1.json")
    assert main(["import", str(file), str(tmp_path / "out.json")]) == 0  # the same pictures
    (tmp_path / "out.json").unlink()
    labels.labeled_frames[0].image = np.full((30, 40, 1), 200, np.uint8)
    assert main(["import", str(file), str(tmp_path / "out.json")]) == 2
    said = capsys.readouterr().err
    assert "cam_000001.png: found a file of this name" in said and "--overwrite" in said
    (record,) = read_coco(tmp_path / "day1.json").records
    assert read_image(record.path).max() == 90 and not (tmp_path / "out.json").exists()
    assert main(["import", str(file), str(tmp_path / "out.json"), "--overwrite"]) == 0
    assert read_image(record.path).max() == 200


@pytest.mark.parametrize(
    "skeletons, classes",
    [([("Skeleton-0", "abc"), ("Skeleton-1", "cde")], ["object", "object-2"]),
     ([("Skeleton-0", "abc"), ("Skeleton-1", "cba")], ["object", "object"]),
     ([("fly", "abc"), ("fly", "xyz"), ("fly", "abc")], ["fly", "fly-2", "fly"]),
     ([("", "abc"), ("object-2", "xyz"), ("Skeleton", "uvw")], ["object", "object-2", "object-3"])],
)  # fmt: skip
def test_skeletons_with_other_nodes_are_other_classes(file, monkeypatch, skeletons, classes):
    several = [labels_of([f"{n}.png", f"{n}.png"], name) for n, (name, _) in enumerate(skeletons)]
    for number, (labels, (_, nodes)) in enumerate(zip(several, skeletons, strict=True)):
        write_picture(file.parent / f"{number}.png", number)
        labels.skeletons[0].node_names = list(nodes)
    give(monkeypatch, join(*several))
    dataset = read_coco(file)
    assert [dataset.schema.class_names[record.class_ids[0]] for record in dataset.records] == classes
    nodes = dict(zip(classes[::-1], [nodes for _, nodes in skeletons[::-1]], strict=True))
    assert {kind.name: "".join(kind.keypoints) for kind in dataset.schema.classes} == nodes
    numbered = sum(name != skeleton for name, (skeleton, _) in zip(classes, skeletons, strict=True) if "-" in name)
    assert sum("its nodes are others" in note for note in dataset.notes) == bool(numbered)


def test_without_the_package_and_without_a_whole_file(tmp_path, file):
    if importlib.util.find_spec("sleap_io") is None:
        with pytest.raises(FileNotFoundError, match=r"sleap_io: found no such package.*centerkp\[sleap\]"):
            read_coco(file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"x\.slp: found a damaged HDF5 file"):
        read_coco(file)


def test_what_ends_the_hdf5_library_ends_no_run(file, monkeypatch):
    """A table that claims more than the file can hold, and a crash in the library, are faults of the file."""
    give(monkeypatch, None)
    with monkeypatch.context() as patch:
        patch.setattr(hdf5, "_READ_ALL", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
        with pytest.raises(ValueError, match=r"x\.slp: found a SLEAP file with a fault \('?HDF5 that is damaged"):
            read_coco(file)
    with h5py.File(file, "a") as content:
        content.create_dataset("instances", (10**9,), "f8", chunks=(1000,))
    with pytest.raises(ValueError, match=r"x\.slp: found a SLEAP file with a fault \('?HDF5 that is damaged"):
        read_coco(file)
