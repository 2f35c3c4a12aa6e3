"""Tells by its first bytes what kind a file is: a picture, a video, or something else that is known and cannot be read.

And walks the folders in which pictures are.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

START = 4096  # bytes that are looked at

# Endings decide only where the content says nothing: TGA has no signature, and of damaged files the error shall name them.
IMAGE_SUFFIXES = tuple(
    ".jpg .jpeg .jpe .jfif .mpo .png .webp .bmp .dib .tif .tiff .gif .avif .heic .heif".split()
    + ".jp2 .j2k .ppm .pgm .pbm .pnm .tga .ico".split()
)
VIDEO_SUFFIXES = tuple(".mp4 .avi .mov .mkv .webm .m4v .mpg .mpeg .wmv .flv .3gp .ogv .mts .m2ts .mjpg .mjpeg .m3u8".split())
RAW_SUFFIXES = tuple(".dng .nef .nrw .cr2 .cr3 .arw .srf .sr2 .pef .srw .3fr .iiq .kdc .dcr .erf .mef .mos .orf .rw2".split())


@dataclass(frozen=True)
class FileKind:
    """What a file holds: `name` in words, `role` "picture", "video" or "other"; `remedy` for what cannot be read."""

    name: str
    role: str = "other"
    remedy: str = ""


HEIC = FileKind("HEIC picture", "picture")  # where the package for it is installed
_NO_HEIC = FileKind("HEIC picture", remedy="pip install 'centerkp[heic]' reads such; or save it as JPEG")
UNKNOWN = FileKind("other file")
TEXT = FileKind("text file")  # labels and notes, and what systems hide in folders
ZIP = FileKind("zip archive", remedy="name it as a source of its own, or unpack it")
RAW = FileKind("camera raw picture", remedy="develop it as JPEG or TIFF")
CLOSED = FileKind("unreadable folder", remedy="ask for the permission to list it")
_PICTURES = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF8",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51"),
    "ICO": (b"\0\0\1\0",),
}
_VIDEOS = {
    "Matroska or WebM video": (b"\x1aE\xdf\xa3",),
    "FLV video": (b"FLV\1",),
    "Ogg video": (b"OggS",),
    "Windows Media video": (b"0&\xb2u\x8ef\xcf\x11",),
    "MPEG video": (b"\0\0\1\xba", b"\0\0\1\xb3"),
    "MXF video": (b"\6\x0e+4\2\5\1\1",),
    "IVF video": (b"DKIF",),
    "Y4M video": (b"YUV4MPEG2",),
    "stream's list": (b"#EXTM3U",),
}
_OTHERS = {
    RAW: (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"IIU\0"),
    **{
        FileKind(f"{name} picture", remedy="save it as JPEG, PNG or TIFF"): signatures
        for name, signatures in {
            "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
            "Photoshop": (b"8BPS",),
            "OpenEXR": (b"v/1\1",),
            "Radiance HDR": (b"#?RADIANCE",),
            "FITS": (b"SIMPLE  =",),
            "DDS": (b"DDS ",),
            "HDF5": (b"\x89HDF",),
        }.items()
    },
    FileKind("PDF document", remedy="save its pages as PNG"): (b"%PDF",),
    FileKind("NumPy array", remedy="give the array to centerkp.predict in Python, or save it as PNG"): (b"\x93NUMPY",),
    ZIP: (b"PK\3\4", b"PK\5\6"),
    FileKind("gzip archive", remedy="unpack it"): (b"\x1f\x8b",),
    FileKind("7-Zip archive", remedy="unpack it"): (b"7z\xbc\xaf\x27\x1c",),
    FileKind("RAR archive", remedy="unpack it"): (b"Rar!",),
    FileKind("Git LFS pointer", remedy="fetch the file itself with 'git lfs pull'"): (b"version https://git-lfs",),
}
_SIGNATURES = {
    signature: kind
    for kinds in (
        {FileKind(name, "picture"): signatures for name, signatures in _PICTURES.items()},
        {FileKind(name, "video"): signatures for name, signatures in _VIDEOS.items()},
        _OTHERS,
    )
    for kind, signatures in kinds.items()
    for signature in signatures
}


def tell_kind(start: bytes, suffix: str = "") -> FileKind | None:
    """The kind of a file whose first bytes (`START` of them) are given; None when they say nothing.

    Args:
        suffix: the file's ending, which alone tells a camera's raw picture from a TIFF, and a video of JPEGs from one.
    """
    for signature, kind in _SIGNATURES.items():
        if start.startswith(signature):
            if kind.name == "TIFF" and (start[8:10] == b"CR" or suffix.lower() in RAW_SUFFIXES):
                return RAW  # in which only a small preview is to be seen
            if kind.name == "JPEG" and suffix.lower() in (".mjpg", ".mjpeg"):
                return FileKind("Motion JPEG video", "video")
            return kind
    if start.startswith(b"RIFF"):
        return {b"WEBP": FileKind("WebP", "picture"), b"AVI ": FileKind("AVI video", "video")}.get(start[8:12])
    if start.startswith(b"BM") and start[6:10] == b"\0\0\0\0":
        return FileKind("BMP", "picture")
    if start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace():
        return FileKind("PPM", "picture")
    if start[128:132] == b"DICM":
        return FileKind("DICOM picture", remedy="save it as PNG")
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return _tell_mp4_kind(start)
    for first, step in ((0, 188), (4, 192)):  # packets of a transport stream, with or without their times
        if len(start) > first + 2 * step and all(start[first + i * step] == 0x47 for i in range(3)):
            return FileKind("MPEG-TS video", "video")
    head = start[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml")) and b"<svg" in head:
        return FileKind("SVG drawing", remedy="save it as PNG")
    if head.startswith((b"<!doctype html", b"<html")):
        return FileKind("web page", remedy="download the file itself")
    return None


def _tell_mp4_kind(start: bytes) -> FileKind:
    """The kind of a file in the container of MP4, which AVIF, HEIC and a raw format share; its brands decide."""
    if start[4:8] != b"ftyp":
        return FileKind("QuickTime video", "video")
    brands = start[8 : max(int.from_bytes(start[:4], "big"), 12)]
    if start[8:12] == b"crx ":
        return RAW
    if brands[:4] in (b"avif", b"avis") or (brands[:4] in (b"mif1", b"msf1") and b"avif" in brands):
        return FileKind("AVIF", "picture")
    if brands[:4] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
        return HEIC if find_spec("pillow_heif") else _NO_HEIC
    return FileKind("MP4 video", "video")


def judge_file(path: Path) -> FileKind:
    """What kind a file is, see `judge_start`; one that cannot be opened is what its ending says, so that reading says why."""
    start = b""
    with suppress(OSError), open(path, "rb") as file:
        start = file.read(START)
    return judge_start(start, path.name)


def judge_start(start: bytes, name: str) -> FileKind:
    """What kind a file is by its first bytes, and by its name where they say nothing; else `TEXT` or `UNKNOWN`."""
    suffix = Path(name).suffix.lower()
    kind = tell_kind(start, suffix)
    if kind is None and suffix in IMAGE_SUFFIXES:
        return FileKind("picture", "picture")
    if kind is None and suffix in VIDEO_SUFFIXES:
        return FileKind("video", "video")
    if kind is None and suffix in RAW_SUFFIXES:
        return RAW
    return kind or (UNKNOWN if b"\0" in start and not Path(name).name.startswith(".") else TEXT)


def real_path(path: Path) -> Path:
    """Where a picture, folder or label file really is, links followed; `Path.resolve` raises at one that leads to itself."""
    return Path(os.path.realpath(path))


def walk_folder(
    root: str | os.PathLike, on_error: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks a folder of pictures as `os.walk` does, its linked folders too, but each real folder once, so that it ends.

    Args:
        on_error: called with the error of each folder that cannot be listed; by default they are passed over.
    """
    pending, seen = [os.fspath(root)], set()
    while pending:
        for folder, subfolders, files in os.walk(pending.pop(0), onerror=on_error):
            real = os.path.realpath(folder)
            if real in seen:
                subfolders.clear()
                continue
            seen.add(real)
            yield folder, subfolders, files
            # What the caller left out stays out.
            pending += [link for name in subfolders if os.path.islink(link := os.path.join(folder, name))]
