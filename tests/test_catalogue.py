"""The catalogue says of every paper that is followed where its method is, or why it is not here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from evals.measures.show import measures
from reasoning.runs import names
from searchers.programs.language.reading import known as programs

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "catalogue.md").read_text(encoding="utf-8")
HERE, _, NOT_HERE = PAGE.partition("## Not here")
ID = r"\d{4}\.\d{4,5}"

READING = re.findall(
    ID,
    """
1411.2664 1610.02424 2108.07732 2112.07660 2206.01131 2210.00720 2210.01293 2210.07228
2212.13894 2301.00006 2301.08721 2304.03843 2305.02440 2305.13144 2306.02723 2307.02764
2308.10379 2310.03309 2310.07088 2310.07712 2310.12342 2310.17623 2311.17972 2402.08733
2402.08939 2402.10200 2402.15838 2402.16363 2404.17546 2405.17755 2405.17893 2405.19261
2406.16829 2407.03687 2407.05483 2407.06071 2407.21787 2408.00724 2408.03314 2409.15254
2410.02725 2410.03117 2410.04343 2410.09303 2410.17635 2410.21333 2411.03590 2411.17501
2412.10684 2412.11605 2412.13292 2501.09367 2501.09775 2501.11651 2501.18585 2502.00511
2502.01618 2502.06833 2502.07191 2502.10858 2502.11008 2503.04412 2503.06692 2503.13288
2503.13992 2503.20533 2504.00294 2504.00424 2504.00762 2504.01005 2504.02111 2504.06261
2504.07891 2504.09566 2504.13171 2504.14047 2504.15466 2505.04881 2505.05315 2505.07961
2505.11107 2505.12992 2505.13672 2505.14140 2505.16881 2505.17155 2505.17813 2505.18149
2505.19184 2505.19187 2505.20522 2505.21941 2505.21972 2505.24643 2506.06444 2506.06998
2506.09501 2506.09684 2506.09991 2506.18810 2506.20544 2507.03038 2507.06829 2507.10541
2507.11768 2507.15974 2508.03346 2508.03363 2508.03979 2508.05988 2509.11208 2509.13237
2510.01123 2510.03199 2510.03632 2510.19669 2512.05033 2601.05110 2601.07239
""",
)
"""The papers of which the framework is to hold what is in them of methods, measures and laws."""


def rows(text: str) -> list[list[str]]:
    """The cells of every row with an arXiv number."""
    found = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in found if re.search(ID, row[1])]


def told(text: str) -> list[str]:
    return [number for row in rows(text) for number in re.findall(ID, row[1])]


@pytest.mark.parametrize("paper", READING)
def test_every_paper_is_here_or_says_why_not(paper: str) -> None:
    assert (paper in told(HERE)) != (paper in told(NOT_HERE))


def test_what_is_named_is_there() -> None:
    kinds = get_args(names.Kind)
    plugged = {(kind, name) for kind in kinds for name in names.known(kind)}
    there = {name for _, name in plugged} | set(programs()) | set(measures())
    there |= {p for kind, name in plugged for p in names.parameters(names.find(kind, name))}
    there |= {"verifier", "adaptive"}
    for cells in rows(HERE):
        said = re.findall(r"`([a-z_0-9]+)`", cells[2])
        assert cells[2], cells
        assert not set(said) - there, cells


def test_what_is_not_here_says_why_in_a_sentence() -> None:
    for cells in rows(NOT_HERE):
        assert len(cells[2]) > 40, cells
