"""Finding a checkpoint on disk: inside an archive of the model zoo, a folder, a SavedModel, or by its prefix."""

import gzip
import lzma
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from centerkp.writing import part_folder

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_PART = r"\.(index|data-\d{5}-of-\d{5})$"  # of a checkpoint's files
_SEARCH_DEPTH = 4  # folders below the given one: NAME/saved_model/variables/variables.index lies three deep


@dataclass(frozen=True)
class CheckpointFiles:
    """A checkpoint's prefix (its path without `.index`), and the pipeline.config beside it, if there is one."""

    prefix: Path
    pipeline: Path | None


@contextmanager
def open_files(path: str | Path, scratch: Path | None = None) -> Iterator[CheckpointFiles]:
    """The checkpoint files at `path`: an archive, an extracted folder, a checkpoint prefix, or a SavedModel folder.

    An archive is unpacked into a folder of its own inside `scratch` (by default the system's), which is gone afterwards.

    Raises:
        FileNotFoundError: nothing is there, or no checkpoint is in it.
        ValueError: the archive is damaged, or would write outside its folder.
    """
    path = Path(path)
    if path.is_file() and not re.search(_PART, path.name):
        with part_folder(scratch / "unpacked") if scratch else tempfile.TemporaryDirectory(prefix="unpack-") as folder:
            yield _unpack_archive(path, Path(folder))
    else:
        yield find_checkpoint_files(path)


def is_archive(path: Path) -> bool:
    """Whether a path has the name of an archive of the zoo that can be unpacked."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def find_checkpoint_files(path: Path) -> CheckpointFiles:
    """The checkpoint files in a folder, the latest of several, or at a prefix; a SavedModel only without any other."""
    if path.is_dir():
        found = _find_prefix(path)
        if found is None:
            raise FileNotFoundError(
                f"{path}: found no checkpoint, expected files such as ckpt-0.index and ckpt-0.data-00000-of-00001 in it or "
                "in a folder below; name the folder that holds them."
            )
        return CheckpointFiles(found, _find_pipeline(found))
    prefix = Path(re.sub(_PART, "", str(path)))
    if not Path(f"{prefix}.index").is_file():
        raise FileNotFoundError(
            f"{path}: no such archive, folder or checkpoint; expected NAME.tar.gz, a folder with ckpt-0.index, or the path of "
            "that file without .index."
        )
    return CheckpointFiles(prefix, _find_pipeline(prefix))


def _find_prefix(folder: Path) -> Path | None:
    """The prefix of the checkpoint in a folder, the latest of several."""
    indexes = [p for depth in range(_SEARCH_DEPTH) for p in folder.glob("*/" * depth + "*.index")]
    if not indexes:
        return None

    def rank(index: Path) -> tuple:
        step = re.search(r"-(\d+)$", index.stem)
        return index.parent.name != "variables", -len(index.parts), int(step[1]) if step else -1, index.stem

    return max(indexes, key=rank).with_suffix("")


def _find_pipeline(prefix: Path) -> Path | None:
    """The pipeline.config among the files of an archive, or near a checkpoint on disk; None without one."""
    folders = list(prefix.parents)[: 3 if prefix.parent.name == "variables" else 2]
    return next((f / "pipeline.config" for f in folders if (f / "pipeline.config").is_file()), None)


def _unpack_archive(archive: Path, folder: Path) -> CheckpointFiles:
    """Unpacks of the zoo's archive what is needed: the checkpoint, or a SavedModel's variables when there is none."""
    for wanted in (_is_checkpoint_file, _is_variables_file):
        _extract_members(archive, folder, wanted)
        if _find_prefix(folder):
            return find_checkpoint_files(folder)
    raise FileNotFoundError(
        f"{archive}: found no checkpoint in it, expected NAME/checkpoint/ckpt-0.index as in the model zoo's archives; "
        "give an archive of a TensorFlow 2 detection model."
    )


def _is_checkpoint_file(name: PurePosixPath) -> bool:
    """Whether a member of an archive belongs to a checkpoint."""
    is_part = "variables" not in name.parts and re.search(_PART, name.name) is not None
    return is_part or name.name == "pipeline.config"


def _is_variables_file(name: PurePosixPath) -> bool:
    """Whether a member of an archive belongs to a SavedModel's variables."""
    return name.parent.name == "variables" and name.stem == "variables"


def _extract_members(archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool]) -> None:
    """Extracts the wanted members of an archive, and refuses one that would leave its folder."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                # Looks at every member, wanted or not: an archive that tries to leave its folder is not what it claims to be.
                member = tarfile.data_filter(member, str(folder))
                if member.isfile() and wanted(PurePosixPath(member.name)):
                    tar.extract(member, folder, filter="data")
    except tarfile.FilterError as error:
        raise ValueError(f"{archive}: {error}, expected members inside its own folder only; do not trust this file.") from None
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise ValueError(f"{archive}: cut off or no archive ({error}), expected a whole .tar.gz; fetch it again.") from None
