"""Objects <-> maps, the only room that thinks in grid cells.

Padded ground truth goes in and target maps come out (`targets`); maps go in and objects come out (`decode`). `ideal` holds the
two together.
"""
