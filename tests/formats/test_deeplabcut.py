"""DeepLabCut: projects, tables of one and of several animals, HDF5."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from tool_files import write_deeplabcut

from centerkp.formats import deeplabcut
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


def test_hdf5_is_read_by_pandas_and_said_where_that_is_missing(tmp_path, monkeypatch):
    folder = write_deeplabcut(tmp_path) / "labeled-data" / "v"
    (folder / "CollectedData_me.csv").unlink()
    table = folder / "CollectedData_me.h5"
    import h5py

    with h5py.File(table, "w") as file:
        file.create_group("df_with_missing")
    if importlib.util.find_spec("tables") is None:
        with pytest.raises((ImportError, FileNotFoundError), match="tables"):
            read_coco(table)
    values = {"scorer": ["me"] * 2, "bodyparts": ["tip"] * 2, "coords": ["x", "y"]}
    columns = SimpleNamespace(names=list(values), get_level_values=values.__getitem__)
    frame = SimpleNamespace(columns=columns, index=[("labeled-data", "v", "img0.png")], to_numpy=lambda: np.array([[6.0, 8]]))
    pandas = SimpleNamespace(read_hdf=lambda path: frame)
    monkeypatch.setattr(deeplabcut, "import_extra", lambda package, extra: pandas)
    assert read_coco(table).records[0].keypoints_xy.tolist() == [[[6, 8]]]


@pytest.mark.parametrize(
    "old, new, words",
    [("coords,,,x,y,x,y\n", "", "with a fault"), (",6,8,", ",6,?,", "could not convert"), (",20,22", "", "shorter"),
     ("x,y,x,y", "x,likelihood,x,y", "predictions of DeepLabCut")],
)  # fmt: skip
def test_faults_name_the_file(tmp_path, old, new, words):
    table = write_deeplabcut(tmp_path) / "labeled-data" / "v" / "CollectedData_me.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf"CollectedData_me\.csv: found .*{words}"):
        read_coco(table)
