#!/usr/bin/env python3
"""Prints how much of each folder of include/relpos tests run, from the summary of llvm-cov.

usage: llvm-cov export -summary-only ... | coverage.py INCLUDE_FOLDER [--files LINES_BELOW]
With --files it lists the files of which tests run fewer per cent of lines, too.
"""

import argparse
import collections
import json
import pathlib
import sys


def percent(part):
    covered, count = part
    return f"{100.0 * covered / count:6.1f} %" if count else "      -  "


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("include", type=pathlib.Path)
    parser.add_argument("--files", type=float, default=0.0)
    arguments = parser.parse_args()

    folders = collections.defaultdict(lambda: {"lines": [0, 0], "branches": [0, 0]})
    files = []
    for file in json.load(sys.stdin)["data"][0]["files"]:
        path = pathlib.Path(file["filename"])
        if arguments.include not in path.parents:
            continue
        name = path.relative_to(arguments.include)
        for folder in (str(name.parent), "in all"):
            for kind, sums in folders[folder].items():
                sums[0] += file["summary"][kind]["covered"]
                sums[1] += file["summary"][kind]["count"]
        if file["summary"]["lines"]["percent"] < arguments.files:
            files.append((file["summary"]["lines"]["percent"], str(name)))

    print(f"{'folder':24}    lines   branches")
    for folder in sorted(folders, key=lambda name: (name == "in all", name)):
        print(f"{folder:24} {percent(folders[folder]['lines'])} {percent(folders[folder]['branches'])}")
    for share, name in sorted(files):
        print(f"{share:5.1f} % of the lines of {name}")


if __name__ == "__main__":
    main()
