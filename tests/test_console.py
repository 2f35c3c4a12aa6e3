import os
import subprocess
import sys
from io import StringIO

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from centerkp.console import make_console, native_silence


def test_names_are_printed_as_they_are():
    """Brackets would be markup to rich (a class `[/x]` an error), and `:cat:` a picture."""
    console = make_console(record=True, width=80)
    table = Table("class [x]")
    names = ["bolt [left]", "[/x]", "photos/:cat:/1.jpg", "['left_eye', 'nose']"]
    for name in names:
        table.add_row(name)
        console.print(name)
    console.print(table)
    text = console.export_text()
    assert all(text.count(name) == 2 for name in names) and "class [x]" in text


def greetings_of(code):
    """What the Python API lets through to the terminal, in a process of its own; whatever level of logging this one has."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr
    return done.stderr


def test_python_api_does_not_greet(tmp_path):
    """Neither when Keras comes in with the first name, nor when a GPU is looked for, nor when a file is what asks for Keras."""
    backbone = "{'kind': 'hourglass', 'stem_channels': 2, 'channels': [4, 4], 'blocks': [1, 1], 'stacks': 1}"
    path = tmp_path / "m.keras"
    build = f"m = centerkp.build_model(num_classes=1, backbone={backbone}, image_size=32)"
    assert greetings_of(f"import centerkp; {build}; m.save({str(path)!r}); print('done')") == ""
    assert greetings_of(f"import centerkp; centerkp.load_detector({str(path)!r}); print('done')") == ""


def test_silence_ends_and_errors_are_heard(capfd):
    with native_silence():
        os.write(2, b"greeting")
    with pytest.raises(KeyError), native_silence():
        os.write(2, b"reason")
        raise KeyError
    os.write(2, b" after")
    assert capfd.readouterr().err == "reason after"


@pytest.mark.parametrize("terminal", [True, False])
def test_no_name_steers_the_terminal(terminal):
    """As text, in styles, in the cells and headings of tables and beside a bar; rich's own colours stay."""
    name, out = "\x1b]0;owned\x07\x1b[2J\u202e\udcff", StringIO()
    console = make_console(file=out, force_terminal=terminal, width=200)
    table = Table(name, title=name)
    table.add_row(Text(name, "bold"))
    console.print(name, style="yellow", soft_wrap=True)
    console.print(table)
    console.print(Text(name))
    with Progress(TextColumn("{task.description}"), console=console) as progress:
        progress.add_task(name)
    text = out.getvalue()
    assert "\x1b]" not in text and "\x1b[2J" not in text and "\x07" not in text and "\u202e" not in text
    assert text.count("\\x1b]0;owned") >= 5 and ("\x1b[33m" in text) == terminal and text.encode()


@pytest.mark.parametrize("columns", ["0", "1", "00", "19", "999999999999999999999999", "abc", "-1", ""])
def test_no_width_hides_the_report(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    out = StringIO()
    make_console(file=out).print("a sentence of several words")
    assert out.getvalue() == "a sentence of several words\n"
    monkeypatch.setenv("COLUMNS", "40")
    assert make_console(file=out).width == 40
