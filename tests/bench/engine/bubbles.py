"""When the stages of a simulated pipeline were busy (--sim-trace): fractions and a picture."""
import json
import pathlib


def steps(trace: pathlib.Path) -> list:
    """The steps that computed something, from the middle of the run: [[begin, end] by stage]."""
    all_steps = [json.loads(line) for line in trace.read_text().splitlines()]
    busy = [step["stages_us"] for step in all_steps if step["tokens"]]
    quarter = len(busy) // 4
    return busy[quarter:len(busy) - quarter]


def busy_fractions(trace: pathlib.Path) -> list:
    middle = steps(trace)
    out = []
    for stage in range(len(middle[0])):
        spans = [step[stage] for step in middle]
        out.append(sum(end - begin for begin, end in spans) / (spans[-1][1] - spans[0][0]))
    return out


def draw(trace: pathlib.Path, count: int = 24) -> str:
    """An SVG of some steps: a row for each stage, a box for each step."""
    shown = steps(trace)[:count]
    begin = min(span[0] for step in shown for span in step)
    end = max(span[1] for step in shown for span in step)
    stages, width, row, left = len(shown[0]), 900, 44, 70
    height = row * stages + 60
    colors = ["#4393c3", "#92c5de", "#f4a582", "#d6604d", "#5aae61"]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 20}" height="{height}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{left}" y="20">busy stages over {(end - begin) / 1000:.1f} ms; white is waiting</text>']
    for stage in range(stages):
        y = 32 + row * stage
        out.append(f'<text x="8" y="{y + 20}">stage {stage}</text>')
        out.append(f'<rect x="{left}" y="{y}" width="{width}" height="{row - 12}" fill="none" stroke="#ccc"/>')
        for number, step in enumerate(shown):
            x0, x1 = (left + width * (at - begin) / (end - begin) for at in step[stage])
            out.append(f'<rect x="{x0:.1f}" y="{y}" width="{x1 - x0:.1f}" height="{row - 12}" '
                       f'fill="{colors[number % len(colors)]}" stroke="white" stroke-width="0.5"/>')
    return "\n".join(out + ["</svg>", ""])
