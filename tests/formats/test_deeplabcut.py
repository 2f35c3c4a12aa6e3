"""DeepLabCut: projects, tables of one and of several animals, HDF5."""

import h5py
import numpy as np
import pytest
from tool_files import write_deeplabcut

from centerkp.labels.coco import read_coco


@pytest.mark.parametrize("place", ["", "config.yaml", "labeled-data/v", "labeled-data/v/CollectedData_me.csv"])
def test_a_project_a_folder_and_a_table(tmp_path, place):
    dataset = read_coco(write_deeplabcut(tmp_path) / place)
    assert dataset.schema.class_names == ("animal",) and dataset.schema.classes[0].keypoints == ("tip", "end")
    assert dataset.schema.classes[0].skeleton == ((0, 1),)
    assert [record.path.name for record in dataset.records] == ["img0.png", "img1.png"]
    assert dataset.records[0].keypoints_xy.tolist() == [[[6, 8], [20, 22]]]
    assert dataset.records[1].visibility.tolist() == [[2, 0]]
    assert dataset.records[0].boxes_xyxy.tolist() == [[0, 0, 30, 30]]
    assert "2 objects: DeepLabCut names no class, called 'animal'" in dataset.notes
    assert any(note.startswith("2 objects: no box, one drawn around") for note in dataset.notes)
    assert dataset.notes[0].startswith("DeepLabCut") and "2 images, 1 class (animal), 2 objects" in dataset.notes[0]


def test_several_animals_and_paths_of_windows(tmp_path):
    table = write_deeplabcut(tmp_path) / "labeled-data" / "v" / "CollectedData_me.csv"
    rows = ["scorer,me,me,me,me,me,me", "individuals,a,a,b,b,single,single", "bodyparts,tip,tip,tip,tip,corner,corner",
            "coords,x,y,x,y,x,y"]  # fmt: skip
    rows += [r"labeled-data\v\img0.png,1,2,11,12,20,21", r"labeled-data\v\img1.png,,,NaN,NaN,5,6"]
    table.write_text("\n".join(rows))
    dataset = read_coco(table)
    assert dataset.schema.class_names == ("animal", "single")
    assert [len(record.class_ids) for record in dataset.records] == [3, 1]


def write_frame(table, rows, *, keys=(("me", "tip", "x"), ("me", "tip", "y"), ("me", "end", "x"), ("me", "end", "y"))):
    """A frame as pandas writes it to HDF5 for DeepLabCut, whole numbers in a block of their own."""

    def write_axis(frame, name, places, levels):
        frame.attrs.update({f"{name}_variety": np.bytes_(b"multi"), f"{name}_nlevels": len(levels)})
        for number, level in enumerate(levels):
            words = sorted({place[number] for place in places})
            node = frame.create_dataset(f"{name}_level{number}", data=np.array([word.encode() for word in words]))
            node.attrs["name"] = np.bytes_(level)
            frame.create_dataset(f"{name}_label{number}", data=np.array([words.index(p[number]) for p in places], np.int8))

    with h5py.File(table, "w") as file:
        frame = file.create_group("df_with_missing")
        frame.attrs.update({"pandas_type": np.bytes_(b"frame"), "nblocks": 2})
        names = (b"scorer", b"bodyparts", b"coords")
        write_axis(frame, "axis0", keys, names)
        write_axis(frame, "axis1", list(rows), (b"N.",) * 3)
        for number, own in enumerate(([0, 2, 3], [1])):
            write_axis(frame, f"block{number}_items", [keys[column] for column in own], names)
            values = frame.create_dataset(f"block{number}_values", data=np.array(list(rows.values()))[:, own])
            values.attrs["transposed"] = np.uint8(1)


ROWS = {("labeled-data", "v", "img0.png"): [6, 8, 20, 22], ("labeled-data", "v", "img1.png"): [10.5, 12, np.nan, np.nan]}


@pytest.mark.parametrize("place", ["", "labeled-data/v/CollectedData_me.h5"])
def test_hdf5_gives_what_the_csv_gives(tmp_path, place):
    folder = write_deeplabcut(tmp_path)
    csv = folder / "labeled-data" / "v" / "CollectedData_me.csv"
    by_csv = read_coco(folder).records
    csv.unlink()
    write_frame(csv.with_suffix(".h5"), ROWS)
    for one, other in zip(read_coco(folder / place).records, by_csv, strict=True):
        assert one.path == other.path and one.keypoints_xy.tolist() == other.keypoints_xy.tolist()
        assert one.visibility.tolist() == other.visibility.tolist()


def test_hdf5_of_something_else_is_named(tmp_path):
    table = write_deeplabcut(tmp_path) / "labeled-data" / "v" / "CollectedData_me.h5"
    table.with_suffix(".csv").unlink()
    for change, words in (
        (lambda frame: frame.attrs.pop("pandas_type"), "no frame in the fixed format"),
        (lambda frame: frame["axis1_label0"].write_direct(np.array([-1, 0], np.int8)), "no word at some places"),
        (lambda frame: frame.pop("block1_values"), "block1_values"),
    ):
        write_frame(table, ROWS)
        with h5py.File(table, "a") as file:
            change(file["df_with_missing"])
        with pytest.raises(ValueError, match=rf"CollectedData_me\.h5: found a DeepLabCut table with a fault \(.*{words}"):
            read_coco(table)


@pytest.mark.parametrize(
    "old, new, words",
    [("coords,,,x,y,x,y\n", "", "with a fault"), (",6,8,", ",6,?,", "could not convert"), (",20,22", "", "shorter"),
     ("tip,tip,end,end", "tip,tip,end", "shorter than that of 'coords': 3 cells of 'bodyparts', expected 4"),
     ("10.5,12,,", "10.5,12", r"shorter than that of 'coords': 2 cells of 'labeled-data/v/img1\.png', expected 4; .* fill"),
     ("x,y,x,y", "x,likelihood,x,y", "predictions of DeepLabCut")],
)  # fmt: skip
def test_faults_name_the_file(tmp_path, old, new, words):
    table = write_deeplabcut(tmp_path) / "labeled-data" / "v" / "CollectedData_me.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf"CollectedData_me\.csv: found .*{words}"):
        read_coco(table)
