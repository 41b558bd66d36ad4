r"""A comparison of methods as LaTeX tables, with the rules of the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from comix_cli.accuracy.comparison_table import Cell, Row
from comix_cli.tools.compare import Comparison
from comix_cli.tools.compare_text import TEST_COLUMNS, caption, label, notes, tested_cells

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",  # packages for some languages take it for an accent
    "±": r"$\pm$",
    "×": r"$\times$",
    # What begins a row must not look like an argument of the line break before it.
    "[": "{[}",
    "*": "{*}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}
_SIGNED = re.compile(r"(?<![\w.])([+-])(?=\d)")


def to_latex(comparison: Comparison) -> str:
    r"""A table of the figures, the best of each row bold, and one of McNemar's tests.

    The preamble of the document needs `\usepackage{booktabs}`.
    """
    table = comparison.table
    best = " The best of each row is bold." if len(table.methods) > 1 else ""
    classes = [row for row in table.rows if row.class_name is not None]
    overall = [row for row in table.rows if row.class_name is None]
    text = latex_table(
        caption(table).replace(" x ", " × ") + best,
        label="comparison",
        columns="l" + "r" * len(table.methods),
        head=["Class", *(escaped(method.name) for method in table.methods)],
        blocks=[
            [_row(row) for row in classes],
            [_row(row) for row in overall],
            [["Runs", *(str(len(method.runs)) for method in table.methods)]],
        ],
    )
    return f"% needs \\usepackage{{booktabs}}\n{text}{_tests(comparison)}"


def _tests(comparison: Comparison) -> str:
    if not comparison.tested:
        return ""
    rows = [[signed(escaped(cell)) for cell in tested_cells(t)] for t in comparison.tested]
    about = "McNemar's test, on the pixels that both maps classify."
    text = latex_table(
        " ".join([about, *notes(comparison)]),
        label="mcnemar",
        columns="ll" + "r" * (len(TEST_COLUMNS) - 2),
        head=[escaped(column) for column in TEST_COLUMNS],
        blocks=[rows],
    )
    return f"\n{text}"


def latex_table(
    caption_text: str,
    *,
    label: str,
    columns: str,
    head: Sequence[str],
    blocks: Iterable[Sequence[Sequence[str]]],
) -> str:
    """A table with rules between its blocks of rows; all cells but the caption are LaTeX."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(caption_text)}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line(head),
    ]
    for block in blocks:
        lines += [r"\midrule", *map(_line, block)] if block else []
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _row(row: Row) -> list[str]:
    name = r"$\kappa$" if row.measure == "kappa" else escaped(label(row))
    return [name, *map(_cell, row.cells, row.best)]


def _cell(cell: Cell | None, best: bool) -> str:
    if cell is None:
        return "--"
    text = signed(cell.percent)
    if cell.deviation_percent:
        text += rf" $\pm$ {cell.deviation_percent}"
    return rf"\textbf{{{text}}}" if best else text


def signed(text: str) -> str:
    """Numbers whose sign is a sign, and no hyphen."""
    return _SIGNED.sub(r"$\1$", text)


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(mark, mark) for mark in " ".join(text.split()))
