#!/usr/bin/env python3
"""Publishes what train_short_test_long measured.

  publish.py FOLDER    keeps its results.csv here and its picture in docs/pictures, then does the rest
  publish.py           writes from results.csv: the tables of docs/extrapolation.md
  publish.py --check   exit code 1 if they are not what results.csv gives
"""

import csv
import json
import pathlib
import re
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results.csv"
PAGE = ROOT / "docs" / "extrapolation.md"


def table(rows, column, digits, factor=1):
    """One row a variant, one column a length; variants without values are left out."""
    lengths = sorted({int(row["length"]) for row in rows})
    lines = ["| encoding | " + " | ".join(map(str, lengths)) + " |", "| --- |" + " ---: |" * len(lengths)]
    for name in dict.fromkeys(row["encoding"] for row in rows):
        values = {int(row["length"]): row[column] for row in rows if row["encoding"] == name}
        if any(values.values()):
            cells = [f"{factor * float(values[at]):.{digits}f}" if values[at] else "" for at in lengths]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def windows(rows):
    values = {row["encoding"]: row["bits_per_byte_in_window"] for row in rows}
    lines = ["| encoding | window of 256 |", "| --- | ---: |"]
    return "\n".join(lines + [f"| {name} | {float(bits):.3f} |" for name, bits in values.items() if bits])


def training():
    lines = ["| model | bits per byte, validation | minutes |", "| --- | ---: | ---: |"]
    for path in sorted((HERE / "weights").glob("*-?.json")):
        last = json.loads(path.read_text())[-1]
        lines.append(f"| {path.stem} | {last['validation']:.3f} | {last['seconds'] / 60:.0f} |")
    return "\n".join(lines)


def published(page):
    rows = list(csv.DictReader(RESULTS.open()))
    sections = {
        "pieces": table(rows, "bits_per_byte", 3),
        "last": table(rows, "bits_per_byte_of_last_256", 3),
        "window": windows(rows),
        "keys": table(rows, "keys_found", 0, 100),
        "entropy": table(rows, "entropy", 3),
        "largest": table(rows, "largest_probability", 3),
        "resolution": table(rows, "resolution", 3),
        "training": training(),
    }
    for name, content in sections.items():
        page, count = re.subn(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)",
                              lambda match: match[1] + content + match[2], page, count=1, flags=re.DOTALL)
        if not count:
            sys.exit(f"{PAGE} has no section {name}")
    return page


def main():
    arguments = sys.argv[1:]
    if len(arguments) == 1 and arguments != ["--check"]:
        folder = pathlib.Path(arguments[0])
        shutil.copy(folder / "results.csv", RESULTS)
        shutil.copy(folder / "bits_per_byte.svg", ROOT / "docs" / "pictures")
    elif arguments and arguments != ["--check"]:
        sys.exit(__doc__)
    page = PAGE.read_text()
    if arguments == ["--check"]:
        sys.exit(0 if published(page) == page else f"{PAGE} is not what {RESULTS} gives: run {__file__}")
    PAGE.write_text(published(page))


if __name__ == "__main__":
    main()
