"""Folders that cannot be listed, also for root."""

import errno
import os


def close_folder(monkeypatch, name):
    """Has the system refuse to list each folder of this name."""
    real = os.scandir

    def scan(path):
        if os.path.basename(path) == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)
