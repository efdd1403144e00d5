#!/usr/bin/env python3
"""Passes JSON lines on, and shows them as tables on standard error: one for each value of "bench"."""
import json
import sys


def text(value) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def show(name: str, rows: list) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "bench"))
    cells = [columns] + [[text(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    print(f"\n{name}", file=sys.stderr)
    for row in cells:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths)), file=sys.stderr)


def main() -> int:
    tables: dict = {}
    for line in sys.stdin:
        print(line, end="", flush=True)
        if line.strip():
            row = json.loads(line)
            tables.setdefault(str(row.get("bench", "")), []).append(row)
    for name, rows in tables.items():
        show(name, rows)
    return 0 if tables else 1


if __name__ == "__main__":
    sys.exit(main())
