from centerkp.wording import printable


def test_what_steers_a_terminal_is_written_out():
    assert printable("a\x1b]0;title\x07\x1b[2Jb\x9b1mc\r\x7f") == "a\\x1b]0;title\\x07\\x1b[2Jb\\x9b1mc\\r\\x7f"
    assert printable("\u202egnp.a\u2066\udcff\u2028") == "\\u202egnp.a\\u2066\\udcff\\u2028"
    kept = "ä ß 螺丝刀 שלום 🔧 'quoted' \\back\n\tline"
    assert printable(kept) == kept
