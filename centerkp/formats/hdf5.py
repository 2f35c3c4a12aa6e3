"""HDF5 files of other tools, read in another process first: on some damaged ones the HDF5 library ends its process."""

import subprocess
import sys
from pathlib import Path

SECONDS = 120  # after which a damaged file is in a loop
# What is larger holds pixels, which no pointer in the file leads to; compression makes no file a thousand times smaller.
_READ_ALL = """
import h5py, os, sys
def read(name, node):
    if isinstance(node, h5py.Dataset):
        size = node.size * node.dtype.itemsize
        if size < 1 << 26:
            node[()]
        elif size > 1000 * os.path.getsize(sys.argv[1]):
            raise ValueError(name)
    dict(node.attrs)
with h5py.File(sys.argv[1]) as file:
    file.visititems(read)
"""
_READ_AS_TOOL = """
from contextlib import suppress
with suppress(Exception):  # which is met again, and said
"""


def check_hdf5(path: Path, call: str = "pass") -> None:
    """Reads an HDF5 file once where that can end nothing else.

    Args:
        call: in Python, another library's reading of its labels from `sys.argv[1]`.

    Raises:
        ValueError: the file is damaged.
    """
    code = f"{_READ_ALL}{_READ_AS_TOOL}    {call}"
    try:
        # -P: what lies in the working folder is no library.
        subprocess.run([sys.executable, "-P", "-c", code, str(path)], capture_output=True, timeout=SECONDS, check=True)
    except subprocess.SubprocessError:
        raise ValueError("HDF5 that is damaged") from None
