from centerkp.wording import cut_table, printable


def test_what_steers_a_terminal_is_written_out():
    assert printable("a\x1b]0;title\x07\x1b[2Jb\x9b1mc\r\x7f") == "a\\x1b]0;title\\x07\\x1b[2Jb\\x9b1mc\\r\\x7f"
    assert printable("\u202egnp.a\u2066\udcff\u2028") == "\\u202egnp.a\\u2066\\udcff\\u2028"
    kept = "ä ß 螺丝刀 שלום 🔧 'quoted' \\back\n\tline"
    assert printable(kept) == kept


def test_long_tables_are_cut():
    assert cut_table([3, None, 1], "x", "y") == ([0, 1, 2], "")
    rows, rest = cut_table([*range(50, 0, -1), None, None], "things, those with the least", "the page has all")
    assert rows == list(range(49, 39, -1))
    assert rest == "10 of 52 things, those with the least; 40 others from 11 to 50; 2 without any; the page has all"
    assert "31 others from 1499 to 1499;" in cut_table([1499] * 41, "things", "all")[1]
    assert cut_table([None] * 41, "things", "all") == ([], "0 of 41 things; 41 without any; all")
