"""Line charts as SVG, side by side, with linear axes that begin at 0."""

from dataclasses import dataclass
from html import escape

COLOURS = ["#b5483a", "#8a6d00", "#0b63b0"]  # of lines, in order; the last one is drawn thicker
WIDTH, HEIGHT = 400, 250  # of the axes of a panel
LEFT, TOP, GAP, BOTTOM = 56, 44, 76, 74


@dataclass
class Line:
    label: str
    points: list  # of (x, y), by x


@dataclass
class Panel:
    title: str
    lines: list


def steps(largest):
    """At most six round numbers from 0 up to `largest`."""
    step = 1
    while largest / step > 5:
        step *= 2.5 if str(step)[0] == "2" else 2
    return [int(i * step) for i in range(int(largest / step) + 1)]


def text(x, y, content, anchor="middle", **attributes):
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(content)}</text>'


def draw_panel(panel, left, x_unit, y_unit, x_ticks):
    x_most = max(x for line in panel.lines for x, _ in line.points)
    y_most = 1.04 * max(y for line in panel.lines for _, y in line.points)

    def at(x, y):
        return left + WIDTH * x / x_most, TOP + HEIGHT * (1 - y / y_most)

    parts = [text(left + WIDTH / 2, TOP - 18, panel.title, font_weight="bold", font_size=15)]
    for tick in steps(y_most):
        _, y = at(0, tick)
        parts.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#e4e4e4"/>')
        parts.append(text(left - 6, y + 4, f"{tick}", "end"))
    for tick in x_ticks:
        x, y = at(tick, 0)
        parts.append(f'<path d="M{x:.1f} {y:.1f}v4" stroke="#555"/>')
        parts.append(text(x, y + 18, f"{tick}"))
    parts.append(f'<path d="M{left} {TOP}v{HEIGHT}h{WIDTH}" fill="none" stroke="#555"/>')
    parts.append(text(left + WIDTH / 2, TOP + HEIGHT + 36, x_unit))
    parts.append(text(left, TOP - 6, y_unit))
    for number, (line, colour) in enumerate(zip(panel.lines, COLOURS)):
        width = 3 if line is panel.lines[-1] else 2
        places = [at(x, y) for x, y in line.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width}" fill="{colour}"/>' for x, y in places]
        y = TOP + 24 + 20 * number
        parts.append(f'<path d="M{left + 14} {y - 4}h22" stroke="{colour}" stroke-width="{width}"/>')
        parts.append(text(left + 42, y, line.label, "start", fill=colour))
    return parts


def line_charts(panels, caption, x_unit, y_unit, x_ticks=(0, 2048, 4096, 6144, 8192)):
    """The document, as text."""
    width = LEFT + len(panels) * (WIDTH + GAP) - GAP + 24
    height = TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="13" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        parts += draw_panel(panel, LEFT + number * (WIDTH + GAP), x_unit, y_unit, x_ticks)
    parts += [text(width / 2, height - 12, caption, font_size=12), "</svg>"]
    return "\n".join(parts) + "\n"
