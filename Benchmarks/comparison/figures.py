# SPDX-License-Identifier: Apache-2.0
"""From the lines of the single runs to a table."""
import collections
import statistics

from workloads import CPU, MEASURE, RATE, WORKLOADS

# One run; `pair` says which of ours belongs to which of theirs.
#   {"workload", "executor", "library", "pair", "side": "ours" | "theirs", "result": {...}}
Ratio = collections.namedtuple("Ratio", "theirs median least most pairs")


def pairs(lines, workload, executor, library):
    """The results of the pairs that are complete: (ours, theirs)."""
    sides = collections.defaultdict(dict)
    for line in lines:
        if (line["workload"], line["executor"], line["library"]) == (workload, executor, library):
            sides[line["pair"]][line["side"]] = line["result"]
    return [(pair["ours"], pair["theirs"]) for _, pair in sorted(sides.items()) if len(pair) == 2]


def compare(lines, workload, executor, library, figure):
    """Ours over theirs: of each pair, and then the median. A machine that gets slower meanwhile slows both of a pair."""
    results = pairs(lines, workload, executor, library)
    if not results:
        return None
    ratios = [ours[figure] / theirs[figure] for ours, theirs in results]
    theirs = statistics.median(theirs[figure] for _, theirs in results)
    return Ratio(theirs, statistics.median(ratios), min(ratios), max(ratios), len(ratios))


def ours(lines, workload, executor, figure):
    values = [line["result"][figure] for line in lines
              if (line["workload"], line["executor"], line["side"]) == (workload, executor, "ours")]
    return statistics.median(values) if values else None


def verdict(target, own, ratio):
    """What is wanted, and whether it is so."""
    if target is None:
        return ""
    value = own if target.is_absolute else ratio and ratio.median
    return f"{target}: " + ("not measured" if value is None else "met" if target.is_met(value) else "missed")


def number(value, figure):
    return f"{value:,.0f}/s" if figure == RATE else f"{value:.3g} µs"


def cell(ratio, figure):
    if ratio is None:
        return "–"
    spread = f" ({ratio.least:.2f} – {ratio.most:.2f})" if ratio.pairs > 1 else ""
    return f"{number(ratio.theirs, figure)} × {ratio.median:.2f}{spread}"


def table(lines):
    """Rows of cells; the first is the heading."""
    libraries = list(dict.fromkeys(line["library"] for line in lines))
    rows = [["", "HareDo on", "figure", "HareDo", *libraries, f"wanted against {MEASURE}"]]
    for workload in WORKLOADS:
        for executor in workload.executors:
            for figure in (RATE, CPU):
                own = ours(lines, workload.name, executor, figure)
                if own is None:
                    continue
                ratios = {library: compare(lines, workload.name, executor, library, figure) for library in libraries}
                wanted = verdict(workload.targets.get((executor, figure)), own, ratios.get(MEASURE))
                rows.append([
                    workload.title, executor, "CPU" if figure == CPU else "rate", number(own, figure),
                    *(cell(ratios[library], figure) for library in libraries), wanted])
    return rows


def markdown(rows):
    """Aligned, so that it is read as easily in a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"

    return "\n".join([line(rows[0]), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows[1:])])
