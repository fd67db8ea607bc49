"""Rows of results as Markdown tables."""

from typing import Any


def format_cell(value: object) -> str:
    """Two decimals, none from 1000 on."""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.2f}"
    return str(value)


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as a Markdown table with aligned columns."""
    header = list(rows[0])
    cells = [header, *([format_cell(row[key]) for key in header] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    numeric = [all(isinstance(row[key], (int, float)) for row in rows) for key in header]
    lines = [
        "| " + " | ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(line, widths, numeric)) + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (w + 1) + (":" if n else "-") for w, n in zip(widths, numeric)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def print_table(rows: list[dict[str, Any]]) -> str:
    """Print the table and return it as Markdown."""
    table = markdown_table(rows)
    print("\n" + table, end="")
    return table
