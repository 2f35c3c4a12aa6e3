"""The way of `--weights coco` with small models: fetched once, resumed, checked, and nothing half-written left behind."""

import gzip
import io
import os
import re
import tarfile
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import checkpoints
import keras
import numpy as np
import pytest
from rich.console import Console

import centerkp
from centerkp.inference.model_loading import load_for_use
from centerkp.weights import addresses
from centerkp.weights.coco_schema import coco_schema
from centerkp.weights.start import load_weights
from centerkp.writing import hold_folder

NAME = "centernet_tiny_kpts.tar.gz"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A hourglass_10 with COCO's heads, packed like the zoo's."""
    folder = tmp_path_factory.mktemp("source")
    checkpoints.write_checkpoint(folder / "checkpoint" / "ckpt-0", checkpoints.make_variables(checkpoints.coco_shapes()))
    return checkpoints.pack(folder, tmp_path_factory.mktemp("archive") / NAME).read_bytes()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory, and a function that points `--weights coco` at an address."""
    monkeypatch.chdir(tmp_path)
    return lambda address: monkeypatch.setenv("CENTERKP_WEIGHTS_URL", str(address))


def load(**options):
    console = Console(record=True, width=300)
    return load_weights("coco", console=console, **options), console.export_text()


def names(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock") if folder.exists() else []


KEPT = ["centernet_tiny_kpts.keras", NAME, f"{NAME}.sha256"]


def test_fetched_once(archive, tmp_path, place):
    with checkpoints.serve({NAME: archive}) as server:
        place(server.address(NAME))
        first, text = load()
        assert server.seen == [None] and "fetching http://127.0.0.1" in text
        second, text = load(image_size=256)
        assert server.seen == [None] and text == ""
    assert names(tmp_path / "weights") == KEPT
    assert first.image_size == (512, 512) and second.image_size == (256, 256)
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs))


def test_cut_off_and_resumed_at_once(archive, tmp_path, place):
    """A connection that breaks twice, further on each time, is taken up again without a word."""
    third = len(archive) // 3
    with checkpoints.serve({NAME: archive}, cut=third, cuts=2) as server:
        place(server.address(NAME))
        load()
        assert server.seen == [None, f"bytes={third}-", f"bytes={2 * third}-"]
    assert (tmp_path / "weights" / NAME).read_bytes() == archive and names(tmp_path / "weights") == KEPT


def test_cut_off_and_resumed_by_the_next_start(archive, tmp_path, place):
    """A server that gives 1000 bytes and then nothing more: an error that says what to do, and the next start goes on there."""
    with checkpoints.serve({NAME: archive}, cut=1000, cuts=1) as server:
        place(server.address(NAME))
        server.files = {NAME: archive}
        original = server.RequestHandlerClass.do_GET

        class Failing(server.RequestHandlerClass):
            def do_GET(self):
                return self.send_error(503) if self.server.seen else original(self)

        server.RequestHandlerClass = Failing
        with pytest.raises(FileNotFoundError) as caught:
            load()
    for words in ("HTTP Error 503", "start again to go on where it stopped", f"weights/{NAME}", "CENTERKP_WEIGHTS_URL",
                  "--weights none"):  # fmt: skip
        assert words in str(caught.value), words
    assert names(tmp_path / "weights") == [f"{NAME}.part"]
    with checkpoints.serve({NAME: archive}) as server:
        place(server.address(NAME))
        load()
        assert server.seen == ["bytes=1000-"]
    assert names(tmp_path / "weights") == KEPT and (tmp_path / "weights" / NAME).read_bytes() == archive


def test_server_that_cannot_resume(archive, tmp_path, place):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{NAME}.part").write_bytes(archive[:1000])
    with checkpoints.serve({NAME: archive}, ranges=False) as server:
        place(server.address(NAME))
        load()
        assert server.seen == ["bytes=1000-"]
    assert (tmp_path / "weights" / NAME).read_bytes() == archive


@pytest.mark.parametrize("extra", [0, 10])
def test_killed_after_the_last_byte(archive, tmp_path, place, extra):
    """Everything had arrived under the temporary name; or more than there is, of another file, which is fetched anew."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{NAME}.part").write_bytes(archive + bytes(extra))
    with checkpoints.serve({NAME: archive}) as server:
        place(server.address(NAME))
        load()
        assert server.seen == [f"bytes={len(archive) + extra}-", None][: 1 + bool(extra)]
    assert (tmp_path / "weights" / NAME).read_bytes() == archive


def test_no_network(tmp_path, place, monkeypatch):
    monkeypatch.delenv("CENTERKP_WEIGHTS_URL", raising=False)
    monkeypatch.setattr(addresses, "ZOO", "http://127.0.0.1:9/")  # nobody listens there
    with pytest.raises(FileNotFoundError) as caught:
        load(image_size=1024)
    name = "centernet_hg104_1024x1024_kpts_coco17_tpu-32.tar.gz"
    for words in (
        f"weights/{name}",
        f"http://127.0.0.1:9/20200711/{name}",
        "by other means and put it there",
        "--weights none",
    ):
        assert words in str(caught.value), words
    assert names(tmp_path / "weights") == []


def test_addresses_are_the_zoos():
    zoo = "http://download.tensorflow.org/models/object_detection/tf2/"
    name = f"{zoo}20200711/centernet_hg104_512x512_kpts_coco17_tpu-32.tar.gz"
    assert addresses.find_archive("hourglass_104", 256) == addresses.find_archive("hourglass_104", 1023) == (name, 512)
    assert addresses.find_archive("hourglass_104", 1024) == (name.replace("512x512", "1024x1024"), 1024)
    small = f"{zoo}20210210/centernet_mobilenetv2fpn_512x512_coco17_kpts.tar.gz"
    assert addresses.find_archive("mobilenetv2_fpn", 2048) == (small, 512)


def test_backbones_that_the_zoo_does_not_have(tmp_path, monkeypatch):
    """Said before anything is fetched."""
    monkeypatch.chdir(tmp_path)
    for backbone in ("hourglass_20", {"stem_channels": 4, "channels": [4, 4], "blocks": [1, 1]}):
        with pytest.raises(ValueError, match=r"found backbone .* expected one that the model zoo has, \['hourglass_104', 'res"):
            centerkp.build_model(num_classes=1, backbone=backbone, weights="coco")
    assert not (tmp_path / "weights").exists()


def repack(archive, change):
    """The archive with `change(name, content)` applied to every file; None leaves it out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as new:
        for member in old:
            content = old.extractfile(member).read() if member.isfile() else b""
            changed = change(member.name, content)
            if changed is not None:
                member.name, content = changed
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    return out.getvalue()


def other_model(tmp_path):
    keys = ("model/_box_predictor/_base_tower_layers_for_heads/0/kernel", "model/_feature_extractor/_efficientnet/stem/kernel")
    folder = tmp_path / "other"
    checkpoints.write_checkpoint(folder / "checkpoint" / "ckpt-0", {key: np.zeros((3, 3, 8, 8), "float32") for key in keys})
    return checkpoints.pack(folder, tmp_path / "other.tar.gz").read_bytes()


def incomplete_model(tmp_path):
    variables = checkpoints.make_variables(checkpoints.coco_shapes())
    del variables["model/_feature_extractor/_network/output_conv/0/norm/beta"]
    folder = tmp_path / "incomplete"
    checkpoints.write_checkpoint(folder / "checkpoint" / "ckpt-0", variables)
    return checkpoints.pack(folder, tmp_path / "incomplete.tar.gz").read_bytes()


def leaving_its_folder(name, content):
    return ("../evil.txt" if name.endswith("pipeline.config") else name), content


def without_checkpoint(name, content):
    return None if "ckpt" in name else (name, content)


def cut_inside(name, content):
    return name, content[:-9999] if ".data" in name else content


FAULTS = {
    "truncated": (lambda archive, _: archive[: len(archive) * 2 // 3], "cut off or no archive.*fetch it again"),
    "truncated inside": (lambda archive, _: gzip.compress(gzip.decompress(archive)[:2000000], 1), "cut off or no archive"),
    "a web page": (lambda *_: b"<html>Please log in</html>", "cut off or no archive"),
    "another archive": (lambda archive, _: repack(archive, without_checkpoint), "found no checkpoint in it"),
    "leaving its folder": (lambda archive, _: repack(archive, leaving_its_folder), "outside.*do not trust this file"),
    "another model": (lambda _, tmp_path: other_model(tmp_path), "EfficientDet.*expected a CenterNet-Hourglass"),
    "incomplete": (lambda _, tmp_path: incomplete_model(tmp_path), "1 of .* variables are missing, the first is .*norm/beta"),
    "damaged inside": (lambda archive, _: repack(archive, cut_inside), "fetch it again"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_archives(archive, tmp_path, place, fault):
    make, words = FAULTS[fault]
    content = make(archive, tmp_path / "made")
    with checkpoints.serve({NAME: content}) as server:
        place(server.address(NAME))
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            load()
    assert re.search(words, str(caught.value)), caught.value
    assert f"weights/{NAME}" in str(caught.value) and ".part" not in str(caught.value)
    assert names(tmp_path / "weights") == [] and not (tmp_path / "evil.txt").exists()


def test_archive_that_changed(archive, tmp_path, place):
    """The digest of the first use holds ever after, also when the archive is fetched again; the ported model needs neither."""
    with checkpoints.serve({NAME: archive}) as server:
        place(server.address(NAME))
        load()
        folder = tmp_path / "weights"
        digest = (folder / f"{NAME}.sha256").read_text()
        assert re.fullmatch(rf"[0-9a-f]{{64}}  {re.escape(NAME)}\n", digest)
        for name in (NAME, "centernet_tiny_kpts.keras"):
            (folder / name).unlink()
        server.files = {NAME: repack(archive, lambda n, c: (n, c + b" ") if n.endswith("config") else (n, c))}
        with pytest.raises(ValueError, match="found SHA-256 .* expected .* recorded in weights/.*first use"):
            load()
        assert names(folder) == [f"{NAME}.sha256"] and (folder / f"{NAME}.sha256").read_text() == digest
        server.files = {NAME: archive}
        load()
        (folder / "centernet_tiny_kpts.keras").unlink()
        (folder / NAME).write_bytes(archive + b"x")  # the user's file now: said, not deleted
        with pytest.raises(ValueError, match="found SHA-256"):
            load()
    assert names(folder) == [NAME, f"{NAME}.sha256"]


def test_archive_put_there_by_hand(archive, tmp_path, place):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / NAME).write_bytes(archive)
    place(f"http://127.0.0.1:9/{NAME}")
    load()
    assert names(tmp_path / "weights") == KEPT


@pytest.mark.parametrize("form", ["archive", "folder", "prefix", "file address"])
def test_local_path_in_place_of_the_address(archive, tmp_path, place, form):
    source = tmp_path / "elsewhere"
    source.mkdir()
    (source / NAME).write_bytes(archive)
    with tarfile.open(source / NAME) as tar:
        tar.extractall(source, filter="data")
    stem = NAME.split(".")[0]
    prefix = source / stem / "checkpoint" / "ckpt-0"
    place(
        {"archive": source / NAME, "folder": source / stem, "prefix": prefix, "file address": f"file://{source / NAME}"}[form]
    )
    load()
    assert names(tmp_path / "weights") == [f"{stem if form != 'prefix' else 'ckpt-0'}.keras"]
    assert names(source) == [stem, NAME]
    assert load()[1] == ""  # the ported model is kept


def test_ported_model_that_is_damaged(archive, tmp_path, place):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "centernet_tiny_kpts.keras").write_bytes(b"half")
    place(f"http://127.0.0.1:9/{NAME}")
    with pytest.raises(ValueError, match="delete it to have it made again"):
        load()


def test_weights_of_other_forms(archive, tmp_path, place, monkeypatch):
    """`--weights` takes the archive itself; a checkpoint of other classes is sent to `convert`."""
    monkeypatch.delenv("CENTERKP_WEIGHTS_URL", raising=False)
    (tmp_path / NAME).write_bytes(archive)
    assert load_weights(tmp_path / NAME).schema == coco_schema()
    assert names(tmp_path / "weights") == []
    prefix = checkpoints.write_small("small_hg10", tmp_path / "hg10")
    with pytest.raises(ValueError, match="found 3 classes.*centerkp convert"):
        load_weights(prefix)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_weights("missing.keras")
    with pytest.raises(FileNotFoundError, match="missing"):
        load_weights("missing")


def test_build_model_from_coco(archive, tmp_path, place, capsys):
    """In code: as it is without a schema, by name with one."""
    with checkpoints.serve({NAME: archive}) as server:
        place(server.address(NAME))
        spec = load()[0].backbone
    model = centerkp.build_model(weights="coco", backbone=spec, image_size=128)
    assert model.schema == coco_schema() and model.image_size == (128, 128) and len(model.decode_options.ignored_classes) == 10
    assert "90 of 90 <- coco" in capsys.readouterr().out
    own = centerkp.Schema.from_coco({"categories": [{"id": 5, "name": "dog"}, {"id": 9, "name": "lamp"}]})
    model = centerkp.build_model(own, weights="coco", backbone=spec, image_size=128)
    assert model.schema == own and model.decode_options.ignored_classes == ()
    assert "center_heatmap: dog <- coco:dog, lamp fresh" in capsys.readouterr().out
    with pytest.raises(ValueError, match="use --backbone|backbone="):
        centerkp.build_model(own, weights="coco", backbone="hourglass_20", image_size=128)
    with pytest.raises(ValueError, match="leave it out"):
        centerkp.build_model(own, weights="coco", backbone=spec, head_channels=8)


def test_the_number_format_holds_also_when_weights_are_ported(archive, tmp_path, place):
    """On the first use of "coco" as on the second, and for an archive that is ported every time."""
    (tmp_path / NAME).write_bytes(archive)
    place(tmp_path / NAME)
    for source in ("coco", "coco", tmp_path / NAME):
        model = load_for_use(source, precision="mixed_bfloat16")
        assert "mixed_bfloat16" in {layer.dtype_policy.name for layer in model.layers}
    assert "mixed_bfloat16" not in {layer.dtype_policy.name for layer in load_weights("coco").layers}


def test_second_process_waits_for_the_first(archive, tmp_path, place):
    """Two starts at once: the second says for whom it waits, fetches nothing, and has the same model."""
    folder, texts = tmp_path / "weights", []

    class Lines(Console):
        def print(self, line, **options):
            texts.append(line)
            if "waiting for" in line:
                waiting.set()

    waiting = Event()
    with checkpoints.serve({NAME: archive}) as server, ThreadPoolExecutor(1) as pool:
        place(server.address(NAME))
        with hold_folder(folder):
            second = pool.submit(load_weights, "coco", console=Lines())
            assert waiting.wait(60) and f"waiting for process {os.getpid()} on " in texts[0]
            (folder / KEPT[0]).write_bytes(b"made by the first")
            assert server.seen == []
        with pytest.raises(ValueError, match="delete it to have it made again"):
            second.result()
        assert server.seen == []


def test_what_a_killed_process_unpacked_is_cleared_away(archive, tmp_path, place):
    left = tmp_path / "weights" / "part-00000000-1-unpacked"
    left.mkdir(parents=True)
    (left / "ckpt").write_bytes(b"1")
    with checkpoints.serve({NAME: archive}) as server:
        place(server.address(NAME))
        load()
    assert names(tmp_path / "weights") == KEPT
