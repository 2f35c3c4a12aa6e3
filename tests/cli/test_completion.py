"""`centerkp --print-completion`: shells complete commands, flags, choices and files, and nobody else pays for it."""

import shutil
import subprocess
import sys

import pytest

from centerkp.cli.commands import COMMANDS, main
from centerkp.cli.completion import SHELLS


def script(shell: str, capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    assert ended.value.code == 0
    return capsys.readouterr().out


def complete(text: str, folder, line: str) -> list[str]:
    """What bash offers after the last word of a line, by the function that the script gives it."""
    words = line.split(" ")
    array = " ".join(f"'{word}'" for word in words)
    ask = (
        f"COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _shtab_centerkp 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    command = ["bash", "--norc", "-c", f"{text}\n{ask}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_flags_choices_and_files(capsys, tmp_path):
    (tmp_path / "annotations.json").touch()
    (tmp_path / "photos").mkdir()
    text = script("bash", capsys)
    assert set(complete(text, tmp_path, "centerkp ")) == {name.replace("_", "-") for name in COMMANDS}
    assert complete(text, tmp_path, "centerkp exp") == ["export", "export-labels"]
    assert "--image-size" in complete(text, tmp_path, "centerkp train --im")
    assert "onnx" in complete(text, tmp_path, "centerkp export m.keras --format o")
    assert complete(text, tmp_path, "centerkp check ann") == ["annotations.json"]
    assert complete(text, tmp_path, "centerkp train --coco ann") == ["annotations.json"]
    assert complete(text, tmp_path, "centerkp train --images ") == ["photos"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_in_every_script(shell, capsys):
    text = script(shell, capsys)
    assert all(name.replace("_", "-") in text for name in COMMANDS)
    if shutil.which(shell) and shell != "tcsh":  # which has no such check
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


def test_an_unknown_shell_is_named(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "cmd.exe"])
    assert ended.value.code == 2 and "invalid choice: 'cmd.exe'" in capsys.readouterr().err


def test_shtab_is_imported_only_when_asked():
    code = "import sys; from centerkp.cli.commands import build_parser; build_parser(); assert 'shtab' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
