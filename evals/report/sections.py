"""The sections of a report that stand in the page as they are: tables and charts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from evals.report import charts, numbers
from evals.report.html import Html, Part, breakable, element, join, table
from evals.report.load import Runs, StoredRun
from evals.report.numbers import Calibration, Compared, Line
from evals.report.sampled import Sampled
from evals.report.text import visible
from evals.statistics.compute import SHORT
from evals.statistics.equal_compute import AtCost
from evals.statistics.intervals import Interval
from evals.statistics.paired import Comparison

ENDS = {
    "finished": "itself",
    "tokens": "token limit",
    "verifier_calls": "call limit",
    "seconds": "time limit",
    "calls": "limit of calls",
    "money": "limit of money",
    "failed": "an error",
}
METHODS = {"wilson": "Wilson", "bootstrap": "bootstrap over problems"}


def problems_told(counts: Sequence[int]) -> str:
    """How many problems, whatever the strategy."""
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{high:,} problems" if low == high else f"{low:,} to {high:,} problems"


def summary(lines: Sequence[Line]) -> Html:
    """One row a strategy: accuracy with its interval, and what it cost."""
    counts = {(n.problems, n.graded) for n in lines}
    alike = len(counts) == 1 and all(n.problems == n.graded for n in lines)
    wanted = {
        "problems": not alike,
        "operations": any(n.cost.get("flops") for n in lines),
        "verifier calls": any(n.cost.get("verifier_calls") for n in lines),
        "failed searches": any(n.failed for n in lines),
        "probe tokens": any(n.cost.get("probe_tokens") for n in lines),
        "tool calls": any(n.cost.get("tool_calls") for n in lines),
        "money": any(n.cost.get("money") for n in lines),
        "failed calls": any(n.cost.get("failed_calls") for n in lines),
    }
    heads = ["strategy", "problems", "accuracy", "95 % interval", "failed searches", "tokens"]
    heads += ["wasted", "probe tokens", "operations", "money", "verifier calls", "tool calls"]
    heads += ["failed calls", "longest chain", "seconds", "no answer", "ended by"]
    heads = [head for head in heads if wanted.get(head, True)]
    rows: list[list[Part]] = []
    for n in lines:
        cells: dict[str, Part] = {
            "strategy": element("th", breakable(n.strategy.label), scope="row"),
            "problems": f"{n.problems:,}"
            if n.graded == n.problems
            else f"{n.graded:,} of {n.problems:,}",
            "accuracy": _share(n.accuracy),
            "95 % interval": _bar(n.accuracy),
            "tokens": f"{n.cost.get('generated_tokens', 0):,.0f}",
            "wasted": f"{n.wasted:.0%}",
            "operations": charts.number(n.cost["flops"]) if "flops" in n.cost else "?",
            "verifier calls": f"{n.cost.get('verifier_calls', 0):,.1f}",
            "failed searches": f"{n.failed:,}",
            "probe tokens": f"{n.cost.get('probe_tokens', 0):,.0f}",
            "tool calls": f"{n.cost.get('tool_calls', 0):,.1f}",
            "money": f"{n.cost.get('money', 0):,.4g}",
            "failed calls": f"{n.cost.get('failed_calls', 0) * n.problems:,.0f}",
            "longest chain": f"{n.cost.get('critical_tokens', 0):,.0f}",
            "seconds": f"{n.cost.get('seconds', 0):,.1f}",
            "no answer": f"{n.unanswered:,}",
            "ended by": _ends(n),
        }
        rows.append([cells[head] for head in heads])
    methods = {METHODS[n.accuracy.method] for n in lines if n.accuracy}
    caption = (
        f"{problems_told([n.problems for n in lines])}. Tokens, calls, chain and seconds are means "
        "a problem; tokens are generated ones with the wasted; the longest chain is of tokens that "
        f"depend on each other. Intervals: "
        f"{', '.join(sorted(methods)) or 'none, as nothing is graded'}."
    )
    if wanted["failed searches"]:
        caption += " A failed search was ended by an error: a wrong answer, never left out."
    if wanted["operations"]:
        caption += (
            " Operations: 2 x parameters x tokens, of the models that generate (generated ones, "
            "and every prefix they read once in a search) and of the verifier (all it read)."
        )
    return table(list(heads), rows, caption=caption)


def _ends(line: Line) -> Html:
    """What ended the searches, the most frequent first."""
    told = [f"{ENDS.get(kind, kind)} {count:,}" for kind, count in line.stops.most_common()]
    return element("td", "itself" if set(line.stops) == {"finished"} else ", ".join(told))


def against_compute(lines: Sequence[Line]) -> Html:
    """Accuracy over each kind of cost, one chart shown at a time."""
    buttons: list[Html] = []
    figures: list[Html] = []
    counts = problems_told([n.graded for n in lines])
    for axis, label in numbers.axes(lines).items():
        short = SHORT[axis].removesuffix(" a problem")
        figure = charts.accuracy_against(lines, axis, f"Accuracy by {short}", legend=False)
        if figure is None:
            continue
        shown = not figures
        text = join(
            f"Accuracy against {label}, {counts}; bars and bands: 95 % intervals of accuracy "
            f"(Wilson), costs are means. Wide grey line: what no other strategy beats on both."
        )
        figures.append(
            _figure(f"by-{axis}", charts.inline_svg(figure, f"by-{axis}"), text, shown=shown)
        )
        buttons.append(
            element(
                "button",
                short,
                type="button",
                data_axis=f"by-{axis}",
                aria_pressed="true" if shown else "false",
            )
        )
    if not figures:
        return element("p", "Nothing is graded, so there is no accuracy to draw.")
    choice = element("div", *buttons, cls="choice", role="group", aria_label="Axis of cost")
    shown_ones = element("div", *figures)
    return join(choice, element("div", shown_ones, _key(charts.families(lines)), cls="beside"))


def _key(names: Sequence[str]) -> Html:
    """The legend of the charts beside it; a press shows a series alone."""
    items = [
        element(
            "button",
            element(
                "span",
                charts.GLYPHS[i % len(charts.GLYPHS)],
                cls="mark" if i < len(charts.SERIES) else "mark dashed",
                style=f"color: var(--s{i % len(charts.SERIES)})",
            ),
            f" {name}",
            type="button",
            data_series=i,
            aria_pressed="false",
        )
        for i, name in enumerate(names)
    ]
    return element("div", *items, cls="choice key", role="group", aria_label="Strategies to show")


def breakdown(lines: Sequence[Line]) -> Html:
    """Where the tokens went."""
    figure = charts.cost_breakdown(lines, "Tokens by what became of them")
    counts = problems_told([n.problems for n in lines])
    text = join(
        f"Mean tokens a problem, {counts}. Wasted: produced by calls that were cancelled or "
        "failed. Prompts: as they were sent, whatever a cache held of them."
    )
    return _figure("costs", charts.inline_svg(figure, "costs"), text, wide=True)


def pairs(compared: Compared, runs: Runs) -> Html:
    """Differences between strategies on the same problems, one baseline shown at a time."""
    found = compared.shown
    names = [s.label for s in runs.strategies]
    first = {c.a for c in found}
    options = [n for n in names if n in first or len(found) == len(names) * (len(names) - 1) // 2]
    select = element(
        "label",
        "Compared with ",
        element(
            "select",
            *(element("option", n, value=names.index(n)) for n in options),
            id="baseline",
        ),
    )
    data = [
        (names.index(c.a), names.index(c.b), c.difference, c.low, c.high, *_discordant(c))
        for c in found
    ]
    tests = " and ".join(dict.fromkeys(c.test for c in found))
    caption = (
        f"Difference in accuracy over the {found[0].problems:,} problems that all strategies "
        f"share; 95 % paired bootstrap intervals; p: {tests}, two-sided; adjusted: "
        f"{compared.family}."
    )
    head: list[Part] = ["strategy", "difference", "95 % interval", "only baseline right"]
    head += ["only this right", "p", "p adjusted"]
    return join(
        select,
        table(head, [], caption=caption, id_="pairs"),
        data_block("pairs-data", {"names": list(map(visible, names)), "rows": data}),
    )


def _discordant(c: Comparison) -> tuple[float | None, ...]:
    return c.only_a, c.only_b, c.p_value, c.adjusted


def equal_compute(runs: Runs, axes: Mapping[str, str], baseline: str | None) -> Html | None:
    """Sweeps against each other where they cost the same; None without two that overlap."""
    tables = [
        _at_equal(found, axis)
        for axis in ("generated_tokens", "flops")
        if axis in axes and (found := numbers.at_equal_compute(runs, axis, baseline=baseline))
    ]
    return join(*tables) if tables else None


def _at_equal(found: Sequence[tuple[str, str, int, AtCost]], axis: str) -> Html:
    pairs = [(a, b) for a, b, _, _ in found]
    rows: list[list[Part]] = [
        [
            # A pair is named once, in its first row.
            None if i and pairs[i - 1] == (a, b) else _against(a, b),
            charts.number(point.cost) if axis == "flops" else f"{point.cost:,.0f}",
            f"{point.a:.3f}",
            f"{point.b:.3f}",
            _signed(point.difference.value),
            f"{_signed(point.difference.low)} to {_signed(point.difference.high)}",
        ]
        for i, (a, b, _, point) in enumerate(found)
    ]
    what = "floating point operations" if axis == "flops" else "generated tokens"
    caption = (
        f"At equal {what}, {found[0][2]:,} problems: accuracy read off each sweep's "
        "curve, linear in log cost between its points; 95 % paired bootstrap intervals over "
        "problems, not corrected for their number."
    )
    head: list[Part] = ["sweep", f"{'operations' if axis == 'flops' else 'tokens'} a problem"]
    head += ["baseline", "this", "difference", "95 %"]
    return table(head, rows, caption=caption)


def _against(a: str, b: str) -> Html:
    small = element("small", "against ", breakable(a))
    return element("th", breakable(b), element("br"), small, scope="row")


def samples(found: Sequence[Sampled]) -> Html | None:
    """Accuracy against the number of samples, each strategy's chart and its numbers."""
    parts = []
    for i, s in enumerate(found):
        name = f"samples-{i}"
        text = join(
            f"{s.n:,} samples of {s.strategy.label} for each of {s.problems:,} problems: what k of "
            "them would give, over all subsets, so without bias and without drawing again. "
            f"Bands: {_methods(x for row in s.intervals for x in row)}, 95 %.{_drawing_error(s)} "
            f"avg@{s.n}, the mean of single samples, is pass@1."
        )
        svg = charts.inline_svg(charts.at_k(s, s.strategy.label), name)
        head: list[Part] = ["", *(f"k={k}" for k in s.curves[0].ks)]
        rows: list[list[Part]] = [
            [
                element("th", f"{curve.kind}@k", scope="row"),
                *(
                    join(f"{x.value:.3f}", element("br"), element("small", _range(x)))
                    for x in intervals
                ),
            ]
            for curve, intervals in zip(s.curves, s.intervals, strict=True)
        ]
        shares = table(head, rows, caption=f"Accuracy by the number of samples. {_law(s)}")
        parts.append(element("div", _figure(name, svg, text), element("div", shares), cls="beside"))
    return join(*parts) if parts else None


def _range(found: Interval) -> str:
    return f"{found.low:.2f} to {found.high:.2f}"


def _methods(found: Iterable[Interval]) -> str:
    return " or ".join(sorted({METHODS[x.method] for x in found}))


def _drawing_error(found: Sampled) -> str:
    """What weighted@k owes to chance where there are too many subsets to go through."""
    most = max((float(c.errors.max()) for c in found.curves), default=0.0)
    return f" weighted@k is by random subsets, standard error at most {most:.4f}." if most else ""


def _law(found: Sampled) -> str:
    law = found.law
    if law is None:
        return "Coverage law c(k) = exp(a k^b): too few samples, or nothing to fit it to."
    return (
        f"Coverage law c(k) = exp(a k^b), fitted to pass@k: a = {law.a:.3f} ± {law.a_error:.3f}, "
        f"b = {law.b:.3f} ± {law.b_error:.3f} (standard errors, {law.method}); residuals of log c: "
        f"{law.rmse:.4f} (root mean square)."
    )


def groups(runs: Runs, key: str, values: Sequence[str]) -> Html:
    """Accuracy by a label of the problems."""
    rows: list[list[Part]] = []
    for strategy in runs.strategies:
        cells: list[Part] = [element("th", breakable(strategy.label), scope="row")]
        for value in values:
            count, found = numbers.by_group(strategy, runs, key, value)
            told = f"{found.low:.2f} to {found.high:.2f}, n={count}" if found else "n=0"
            cells.append(join(_share(found), element("br"), element("small", told)))
        rows.append(cells)
    caption = f"Accuracy by {key} with 95 % Wilson intervals; n is the number of problems."
    return table(["strategy", *values], rows, caption=caption)


def calibration(found: Sequence[Calibration]) -> Html:
    """How far the verifier's scores can be believed."""
    rows: list[list[Part]] = [
        [
            element("th", breakable(c.strategy.label), scope="row"),
            f"{c.samples:,}",
            f"{c.problems:,}",
            f"{c.auroc.value:.3f}" if c.auroc else "one kind only",
            f"{c.auroc.low:.3f} to {c.auroc.high:.3f}" if c.auroc else "",
            "" if c.ece is None else f"{c.ece:.3f}",
            "" if c.brier is None else f"{c.brier:.3f}",
        ]
        for c in found
    ]
    head: list[Part] = ["candidates of", "samples", "problems", "AUROC", "95 % interval"]
    head += ["ECE", "Brier"]
    caption = (
        "Scores of the candidates' last steps against their grades. AUROC: the chance that a right "
        "candidate outscores a wrong one, 95 % bootstrap interval over problems. ECE: 10 bins of "
        "equal width. Strategies that search by score have selected their candidates."
    )
    drawn = []
    for i, c in enumerate(sorted(found, key=lambda c: -c.samples)[:2]):
        if figure := charts.reliability_diagram(c, c.strategy.label):
            text = join(f"Reliability: {c.samples:,} candidates of {c.problems:,} problems.")
            svg = charts.inline_svg(figure, f"reliability-{i}")
            drawn.append(_figure(f"reliability-{i}", svg, text))
    return join(table(head, rows, caption=caption), element("div", *drawn, cls="figures"))


def provenance(run: StoredRun) -> Html:
    """What is needed to repeat a run, as its manifest says."""
    told = run.manifest
    facts = {
        "folder": str(run.folder),
        "started": told.get("started"),
        "command": " ".join(map(str, told.get("command") or ())),
        "python": told.get("python"),
        "platform": told.get("platform"),
        "packages": ", ".join(f"{k} {v}" for k, v in (told.get("packages") or {}).items()),
    }
    items = [join(element("dt", k), element("dd", v)) for k, v in facts.items() if v]
    recipe = json.dumps(told.get("run", {}), indent=2, ensure_ascii=False)
    return element(
        "details",
        element("summary", f"How it was made: {run.label}"),
        element("dl", *items),
        element("pre", recipe),
    )


def data_block(name: str, value: object) -> Html:
    """JSON for the page's script; no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{name}">{text}</script>')


def _figure(name: str, svg: str, caption: Html, *, shown: bool = True, wide: bool = False) -> Html:
    text = element("figcaption", caption, id=f"{name.replace('-', '')}-caption")
    kind = "wide" if wide else None
    return element("figure", Html(svg), text, id=name, hidden=not shown, cls=kind)


def _signed(value: float) -> str:
    sign = "+" if value > 0 else "−"
    return "±0.000" if abs(value) < 0.0005 else f"{sign}{abs(value):.3f}"


def _share(found: Interval | None) -> str:
    return "–" if found is None else f"{found.value:.3f}"


def _bar(found: Interval | None) -> Html:
    """The interval in numbers and as a bar between 0 and 1."""
    if found is None:
        return Html("")
    box = 'viewBox="0 0 100 12" class="bar" aria-hidden="true" preserveAspectRatio="none"'
    low, high, value = (100 * x for x in (found.low, found.high, found.value))
    return join(
        f"{found.low:.3f} to {found.high:.3f}",
        Html(
            f'<svg {box}><rect class="rail" y="5.5" width="100" height="1"/><rect class="span" '
            f'x="{low:.1f}" y="3" width="{high - low:.1f}" height="6"/><rect class="mean" '
            f'x="{value - 0.7:.1f}" y="0" width="1.4" height="12"/></svg>'
        ),
    )
