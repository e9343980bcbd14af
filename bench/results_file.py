"""The file of results that benchmarks write and publish.py reads: {"sections": [{"title", "rows", ...}]}."""

import json


def add_options(parser):
    parser.add_argument("--json", metavar="FILE", help="write the results into FILE; its other sections stay")
    parser.add_argument("--processor", default="unknown", help="name in the results")
    parser.add_argument("--commit", default="unknown", help="of relpos, in the results")


def write(path, sections):
    """`path` is a pathlib.Path."""
    titles = {each["title"] for each in sections}
    before = json.loads(path.read_text())["sections"] if path.exists() else []
    kept = [each for each in before if each["title"] not in titles]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"sections": kept + sections}, indent=1) + "\n")
