from rich.table import Table

from centerkp.console import make_console


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
