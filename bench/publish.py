"""Publishes what `./dev bench` measured.

  publish.py RESULTS.json   keeps the sections of each processor as bench/results/<processor>.json, then does the rest
  publish.py                writes from bench/results/: docs/benchmarks.md, the picture and the figures of README.md
  publish.py --check        exit code 1 if one of these is not what the results give
"""

import json
import re
import sys
from pathlib import Path

from line_chart import Line, Panel, line_charts

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PICTURE = "docs/pictures/time_against_length.svg"
README_RESULTS = "amd-epyc-family-25-model-17"  # which of them README.md shows
RELPOS, MATRIX, FLEX = "relpos", "SDPA, matrix", "FlexAttention"

HEAD = """# Benchmarks

`bench/publish.py` writes this page from [bench/results](../bench/results). [Limits](limits.md) explains the figures.

![Time against length: relpos, FlexAttention, and SDPA with a bias matrix](pictures/time_against_length.svg)

    ./dev bench            the sections that need no Python library, into build/bench/results.json
    ./dev bench torch      PyTorch, into the same file
    ./dev bench runtimes   ONNX Runtime, OpenVINO and ggml, into the same file
    ./dev bench ggml       graphs of ggml, into the same file
    ./dev bench publish    keeps that file in bench/results and writes this page
    ./dev bench micro      functions and calls one by one, with Google Benchmark

Figures are ratios. Other users of a machine change its speed by half for seconds at a time, so the calls that are
compared take turns in one process, in short segments, and each reports the 10th percentile of its times. A loop of
float32 multiply-adds in registers takes turns too: its rate is the peak. Every result is verified against float64
before it is timed. Only the work of visible keys counts: under a causal mask, half. `--quick` verifies every call and
gives each one turn: its figures mean nothing.

* *of peak*: multiply-adds per second over the peak. *extra*: time beyond the row without encoding.
* *alibi* skips far tiles whose weights are all exactly zero; *no tile left out* and *flat* skip none.
* One core has 8 heads at lengths 512 and 2048 and under ALiBi, one head at 8192 without; beside peers 2 heads, and one
  at 8192. Rows of length 65536 under ALiBi are evenly spread slices of queries.
* PyTorch's matrix of bias and mask, and the bias matrix of the other peers, are built before the clock starts.
* Batches of short sequences are 13 or 25 MB of q, k, v and out, and come from the third cache or from memory.
"""


def percent(value):
    return f"{100 * value:.1f} %"


def words(identifier):
    return identifier.replace("_", " ")


def table(heads, rows):
    """Markdown. Columns without a value in any row are left out."""
    used = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    lines = [[heads[i] for i in used], ["---"] * len(used)] + [[row[i] for i in used] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def encodings(rows):
    """A line for each encoding and mask, a column for each head_dim and length."""
    columns = sorted({(row["head_dim"], row["length"]) for row in rows})
    cells = {}
    for row in rows:
        fraction, extra = row.get("fraction_of_peak"), row.get("extra_time_percent")
        shown = [percent(fraction)] if fraction is not None else []
        shown += [f"({extra:+.1f})" if shown else f"{extra:+.1f}"] if extra is not None else []
        line = cells.setdefault((row["encoding"], row["setting"]), {})
        line[row["head_dim"], row["length"]] = " ".join(shown)
    heads = ["encoding", "mask"] + [f"{head_dim} x {length}" for head_dim, length in columns]
    lines = [[*key, *(line.get(column, "") for column in columns)] for key, line in cells.items()]
    return "Percentage of the peak (extra time in percent), by head_dim x length:\n\n" + table(heads, lines)


def listing(section):
    """A line for each row."""
    heads = ["encoding", section["setting"], "head_dim", "length", "of peak", "extra", "workspace", "times as fast as",
             "ratio"]
    lines = []
    for row in section["rows"]:
        fraction, extra, workspace = (row.get(name) for name in ("fraction_of_peak", "extra_time_percent",
                                                                 "workspace_bytes"))
        lines.append([
            row["encoding"], row["setting"], str(row["head_dim"]), str(row["length"]),
            "" if fraction is None else percent(fraction),
            "" if extra is None else f"{extra:+.1f} %",
            "" if workspace is None else f"{workspace / 1024:.0f} KiB",
            ", ".join(f"{words(name)} {ratio:.2f}" for name, ratio in row.get("speedup", {}).items()),
            f"{row['ratio']:.3g}" if "ratio" in row else "",
        ])  # fmt: skip
    return table(heads, lines)


def shown(section):
    if "table" in section:
        return table(**section["table"])
    return encodings(section["rows"]) if section["title"].startswith("one core") else listing(section)


def page(machines):
    parts = [HEAD]
    for sections in machines.values():
        parts.append(f"\n## {sections[0]['processor']}\n")
        for section in sections:
            parts.append(f"\n### {section['title'][0].upper()}{section['title'][1:]}\n\n")
            parts.append(f"{section['compiler']}, `{section['flags']}`, commit {section['commit']}.")
            parts.append("".join(f" {words(note)}." for note in section["notes"]) + "\n\n")
            parts.append(shown(section) + "\n")
    return "".join(parts)


def torch_section(sections):
    return next(section for section in sections if section["title"].startswith("PyTorch, one core, 8 heads"))


def picture(sections):
    panels = []
    for encoding, name in (("alibi", "ALiBi"), ("t5", "T5 bias")):
        rows = [row for row in torch_section(sections)["rows"] if row["encoding"] == encoding]
        curves = []
        for candidate, label in ((MATRIX, "PyTorch SDPA, bias matrix"), (FLEX, "FlexAttention"), (RELPOS, "relpos")):
            points = [(row["length"], row["milliseconds"][candidate]) for row in rows]
            ratio = points[-1][1] / rows[-1]["milliseconds"][RELPOS]
            curves.append(Line(label if candidate == RELPOS else f"{label}: {ratio:.1f}x", points))
        panels.append(Panel(f"{name}, causal", curves))
    head_dim, length = rows[-1]["head_dim"], rows[-1]["length"]
    caption = f"Forward, float32, 8 heads of {head_dim} channels, one core of {sections[0]['processor']}; ratios at {length} tokens"
    return line_charts(panels, caption, "tokens", "ms")


def readme_table(sections):
    names = {"none": "none", "alibi": "ALiBi", "t5": "T5 bias"}
    lines = []
    for row in torch_section(sections)["rows"]:
        if row["encoding"] not in names or row["length"] not in (512, 2048, 8192):
            continue
        speedup = row["speedup"]
        sdpa = speedup.get("SDPA", speedup.get(MATRIX))
        lines.append([names[row["encoding"]], str(row["length"]), f"{row['milliseconds'][RELPOS]:.3g} ms", f"{sdpa:.1f}x",
                      f"{speedup[FLEX]:.1f}x"])  # fmt: skip
    section = torch_section(sections)
    source = (
        f"`./dev bench torch` on {section['processor']}, {section['notes'][0]}, causal, 8 heads of 64 channels.\n"
        "A ratio is PyTorch's time over relpos's: above 1, relpos is faster. SDPA takes a bias as a matrix, made beforehand.\n"
        "Long ALiBi is faster than none: relpos skips far tiles if a bound proves their weights to be zero; no bit changes."
    )
    heads = ["encoding", "tokens", "relpos", "SDPA / relpos", "FlexAttention / relpos"]
    return table(heads, lines) + f"\n\n{source}"


def between(text, marker, content):
    """`text` with what is between the comments `marker` and `end of marker` replaced."""
    begin, end = f"<!-- {marker} -->\n", f"<!-- end of {marker} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"README.md: '{begin.strip()}' and '{end}' must each be there once")
    before, rest = text.split(begin)
    return before + begin + content + "\n" + end + rest.split(end)[1]


def keep(path):
    processors = {}  # a GPU is one too
    for section in json.loads(path.read_text())["sections"]:
        if section["commit"].endswith("-dirty"):
            sys.exit(f"{path}: '{section['title']}' was measured with changes that no commit has")
        processors.setdefault(section["processor"], []).append(section)
    RESULTS.mkdir(exist_ok=True)
    for processor, sections in processors.items():
        name = re.sub("[^a-z0-9]+", "-", processor.lower()).strip("-")
        (RESULTS / f"{name}.json").write_text(json.dumps({"sections": sections}, indent=1) + "\n")


def main():
    arguments = sys.argv[1:]
    if arguments and arguments != ["--check"]:
        keep(Path(arguments[0]))
    machines = {path.stem: json.loads(path.read_text())["sections"] for path in sorted(RESULTS.glob("*.json"))}
    shown = machines[README_RESULTS]
    readme = (ROOT / "README.md").read_text()
    files = {
        "docs/benchmarks.md": page(machines),
        PICTURE: picture(shown),
        "README.md": between(readme, "figures", readme_table(shown)),
    }
    for name, content in files.items():
        path = ROOT / name
        if arguments == ["--check"]:
            if not path.exists() or path.read_text() != content:
                sys.exit(f"{name} is not what bench/publish.py writes from bench/results")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)


if __name__ == "__main__":
    main()
