"""Tables as LaTeX, for a paper: ``\\input`` the file; it needs the packages booktabs and longtable."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.evaluate.tables import Table

_SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"},
    **{"<": "\\textless{}", ">": "\\textgreater{}", '"': "''"},
    **{"±": "$\\pm$", "≥": "$\\geq$", "≤": "$\\leq$", "†": "$\\dagger$", "‡": "$\\ddagger$", "§": "\\S{}"},
}


def latex(tables: Sequence[Table]) -> str:
    """The tables one after the other, each with its title as caption and its notes below."""
    return "\n".join(_one(table) for table in tables)


def _one(table: Table) -> str:
    columns = len(table.header)
    rows = "".join(_row(row) for row in table.rows)
    place = f"\\multicolumn{{{columns}}}{{p{{0.9\\linewidth}}}}"
    notes = "".join(f"{place}{{\\footnotesize {_text(note)}}} \\\\\n" for note in table.notes)
    return (
        f"\\begin{{longtable}}{{l{'r' * (columns - 1)}}}\n\\caption{{{_text(table.title)}}} \\\\\n\\toprule\n"
        f"{_row(table.header)}\\midrule\n\\endhead\n{rows}\\bottomrule\n{notes}\\end{{longtable}}\n"
    )


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(f'{{{_text(cell)}}}' for cell in cells)} \\\\\n"


def _text(text: str) -> str:
    """Escaped; what ``**`` encloses is bold."""
    written = "".join(_SPECIAL.get(letter, letter) for letter in text)
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", written)
