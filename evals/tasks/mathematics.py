"""Benchmarks of mathematics, as records.

Numbers of problems, columns and licences are those of the data sets' cards; docs/tasks.md says of
each what of it has been loaded here.
"""

from __future__ import annotations

import re

from evals.tasks.benchmark import BOXED, INTEGER, STEPS, Benchmark
from evals.tasks.rows import Hub, Row
from reasoning.answers import canonical, extract
from reasoning.answers.quantities import measure
from reasoning.errors import TaskError

MATHARENA = "CC BY-NC-SA 4.0"
MAA = "problems copyright of the MAA"
PROBLEM = {"question": "problem"}
INDEXED = {"question": "problem", "id": "problem_idx"}
ONE_NUMBER = STEPS + "End with the answer, a single number, within \\boxed{}."


def aime(number: int, row: Row) -> Row:
    """An answer without leading zeros and units: some copies have 336^\\circ.

    Raises TaskError for one that no AIME problem has.
    """
    del number
    given = row.get("answer")
    if given is None:
        return row
    bare = measure(canonical(str(given))).number
    if not re.fullmatch(r"[0-9]{1,3}", bare):
        raise TaskError(f"an AIME answer is an integer from 0 to 999, not {given!r}")
    return {**row, "answer": int(bare)}


def _aime24(number: int, row: Row) -> Row:
    """Its url says which exam and number it is."""
    exam = re.search(r"AIME_(I{1,2})_Problems/Problem_(\d+)", str(row.get("url")))
    if exam and not str(row.get("id")).startswith("aime24"):
        row = {**row, "id": f"aime24-{exam[1]}-{int(exam[2]):02}"}
    return aime(number, row)


def _two_exams(name: str, number: int, row: Row) -> Row:
    """Rows stand as I 1 to 15, then II 1 to 15; their own ids, if any, are bare numbers."""
    if str(row.get("id", "0")).isdecimal():
        row = {**row, "id": f"{name}-{'I' if number < 15 else 'II'}-{number % 15 + 1:02}"}
    return aime(number, row)


def _gsm8k(number: int, row: Row) -> Row:
    """The answer is what follows `####`, without thousands commas."""
    row = {"id": f"gsm8k-test-{number}", **row}
    solution = row.get("answer")
    if isinstance(solution, str) and "####" in solution:
        row |= {"solution": solution, "answer": solution.rpartition("####")[2]}
    if isinstance(row.get("answer"), str):
        row["answer"] = row["answer"].strip().replace(",", "")
    return row


def _math500(number: int, row: Row) -> Row:
    """Ids look like test/algebra/2584.json."""
    where = str(row.get("unique_id", number)).removeprefix("test/").removesuffix(".json")
    return {"id": f"math500-{where.replace('/', '-')}", **row}


def _whole(number: int, row: Row) -> Row:
    """Whole numbers that are stored as 27.0."""
    del number
    found = re.fullmatch(r"(-?\d+)\.0+", str(row.get("answer")))
    return {**row, "answer": found[1]} if found else row


def _olympiadbench(number: int, row: Row) -> Row:
    """The answer is a list with one text, which holds all answers where there are several."""
    del number
    final = row.get("final_answer")
    if "answer" not in row and isinstance(final, list):
        row = {**row, "answer": ", ".join(map(str, final))}
    return row


def _unboxed(number: int, row: Row) -> Row:
    """The answer out of its box, where it is in one."""
    del number
    given = str(row.get("answer"))
    return {**row, "answer": extract(given)} if "\\boxed" in given else row


aime24 = Benchmark(
    name="aime24",
    about="AIME 2024: both American Invitational Mathematics Examinations, integers to 999.",
    hub=Hub("HuggingFaceH4/aime_2024", None, "train", "2fe88a2f1091d5048c0f36abc874fb997b3dd99a"),
    problems=30,
    licence=f"none stated; {MAA}",
    prompt=INTEGER,
    fallback="last_number",
    fields=PROBLEM,
    adapt=_aime24,
    avg_at_n=True,
)

aime25 = Benchmark(
    name="aime25",
    about="AIME 2025: both American Invitational Mathematics Examinations, integers to 999.",
    hub=Hub("math-ai/aime25", None, "test", "563bb8404243c5f09de6ec262f2db674fe5bce9b"),
    problems=30,
    licence=f"unknown; {MAA}",
    prompt=INTEGER,
    fallback="last_number",
    fields=PROBLEM,
    adapt=lambda number, row: _two_exams("aime25", number, row),
    avg_at_n=True,
)

aime26 = Benchmark(
    name="aime26",
    about="AIME 2026: both American Invitational Mathematics Examinations, integers to 999.",
    hub=Hub("math-ai/aime26", None, "test", "79037aebdb6580008fb960d17cb21fd3099083e3"),
    problems=30,
    licence=f"Apache-2.0; {MAA}",
    prompt=INTEGER,
    fallback="last_number",
    fields=PROBLEM,
    adapt=aime,
    avg_at_n=True,
)

hmmt_feb_2025 = Benchmark(
    name="hmmt_feb_2025",
    about="HMMT February 2025: answers are numbers, radicals, formulas, tuples.",
    hub=Hub("MathArena/hmmt_feb_2025", None, "train"),
    problems=30,
    licence=MATHARENA,
    fields=INDEXED,
    avg_at_n=True,
)

hmmt_nov_2025 = Benchmark(
    name="hmmt_nov_2025",
    about="HMMT November 2025: answers are numbers, radicals, formulas, tuples.",
    hub=Hub("MathArena/hmmt_nov_2025", None, "train"),
    problems=30,
    licence=MATHARENA,
    fields=INDEXED,
    avg_at_n=True,
)

hmmt_feb_2026 = Benchmark(
    name="hmmt_feb_2026",
    about="HMMT February 2026: answers are numbers, radicals, formulas, tuples.",
    hub=Hub("MathArena/hmmt_feb_2026", None, "train"),
    problems=33,
    licence=MATHARENA,
    fields=INDEXED,
    avg_at_n=True,
)

olympiadbench = Benchmark(
    name="olympiadbench",
    about="OlympiadBench (arXiv:2402.14008): open-ended competition mathematics in English.",
    hub=Hub(
        "Hothan/OlympiadBench",
        "OE_TO_maths_en_COMP",
        "train",
        "3b426ee1d587c71b495146dde9f3e995ee7ac59f",
    ),
    problems=674,
    licence="Apache-2.0",
    adapt=_olympiadbench,
    note="its tolerances (the field `error`) are not applied: answers are compared exactly",
)

amc23 = Benchmark(
    name="amc23",
    about="AMC 12 2023: both exams without their options, integers.",
    hub=Hub("math-ai/amc23", None, "test"),
    problems=40,
    licence=f"unknown; {MAA}",
    prompt=ONE_NUMBER,
    fallback="last_number",
    adapt=_whole,
    avg_at_n=True,
)

gsm8k = Benchmark(
    name="gsm8k",
    about="GSM8K (arXiv:2110.14168): grade-school word problems, whole numbers.",
    hub=Hub("openai/gsm8k", "main", "test", "740312add88f781978c0658806c59bc2815b9866"),
    problems=1319,
    licence="MIT",
    prompt=ONE_NUMBER,
    fallback="last_number",
    adapt=_gsm8k,
)

gsm8k_platinum = Benchmark(
    name="gsm8k_platinum",
    about="GSM8K-Platinum (arXiv:2502.03461): GSM8K's test set, revised by hand.",
    hub=Hub("madrylab/gsm8k-platinum", "main", "test"),
    problems=1209,
    licence="MIT",
    prompt=ONE_NUMBER,
    fallback="last_number",
    adapt=lambda number, row: _gsm8k(number, {"id": f"gsm8k_platinum-{number}", **row}),
)

math500 = Benchmark(
    name="math500",
    about="MATH-500: 500 problems of MATH (arXiv:2103.03874) by level and subject.",
    hub=Hub("HuggingFaceH4/MATH-500", None, "test", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"),
    problems=500,
    licence="MIT",
    prompt=BOXED,
    fields=PROBLEM,
    adapt=_math500,
)

brumo_2025 = Benchmark(
    name="brumo_2025",
    about="BRUMO 2025: the Brown University Math Olympiad.",
    hub=Hub("MathArena/brumo_2025", None, "train"),
    problems=30,
    licence=MATHARENA,
    fields=INDEXED,
    avg_at_n=True,
)

cmimc_2025 = Benchmark(
    name="cmimc_2025",
    about="CMIMC 2025: the Carnegie Mellon Informatics and Mathematics Competition.",
    hub=Hub("MathArena/cmimc_2025", None, "train"),
    problems=40,
    licence=MATHARENA,
    fields=INDEXED,
    avg_at_n=True,
)

smt_2025 = Benchmark(
    name="smt_2025",
    about="SMT 2025: the Stanford Math Tournament.",
    hub=Hub("MathArena/smt_2025", None, "train"),
    problems=53,
    licence=MATHARENA,
    fields=INDEXED,
    avg_at_n=True,
)

beyond_aime = Benchmark(
    name="beyond_aime",
    about="BeyondAIME: new problems harder than AIME's, integers.",
    hub=Hub("ByteDance-Seed/BeyondAIME", None, "test"),
    problems=100,
    licence="unknown",
    prompt=ONE_NUMBER,
    fallback="last_number",
    fields=PROBLEM,
    adapt=_whole,
    avg_at_n=True,
)

amo_bench = Benchmark(
    name="amo_bench",
    about="AMO-Bench (arXiv:2510.26768): original problems at the level of the IMO or above.",
    hub=Hub("meituan-longcat/AMO-Bench", None, "test"),
    problems=50,
    licence="MIT",
    fields={"question": "prompt", "id": "question_id"},
    adapt=_unboxed,
    where={"answer_type": ["number", "set", "variable"]},
    avg_at_n=True,
    note="of its 50 problems the 39 that can be graded without a judge; the others describe",
)
