"""Replays stored samples of real models, in virtual time.

`reasoning.backends.formats` says which forms are read, and what is known of a sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reasoning.backends.formats import NOTES, Recording, kept, recognised
from reasoning.backends.parts import part
from reasoning.clock import Clock, ClockPerProblem, Speed, stream
from reasoning.errors import RecipeError
from reasoning.generate import EVERYONES, Generator, Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.thinking import END, Thinking
from reasoning.tree import Sample, TopLogprobs

CHARS_A_TOKEN = 3.5
"""For samples without a token count: characters of English mathematics a token, about."""


def recorded(
    *,
    path: str,
    tokens_per_second: Speed = 50.0,
    where: dict[str, str] | None = None,
    thinking_end: str = END,
) -> Recorded:
    """Stored samples of real models: slot i of a problem returns its i-th sample.

    path: a .jsonl file of problems with samples, a log of inspect_ai (.eval), lm-eval's
    samples_*.jsonl, a set of MathArena's outputs (.parquet), a folder of such, or a run's. Problems
    are found by their question, else by their id. Time is virtual: a sample takes its number of
    tokens divided by `tokens_per_second`. `where` keeps the rows and samples whose fields have the
    given values, say {run: data/n16}. thinking_end: what the models' thoughts end with.
    """
    recording = recognised(path)
    samples, questions, notes = _read(recording, path, where or {})
    named = recording.form in ("lines", "run_folder")
    thinking = Thinking.stated(None, thinking_end)
    return Recorded(samples, path, 1 / tokens_per_second, questions, notes, named, thinking)


class Recorded(Generator):
    """Samples by problem id. Ignores seeds and temperatures: what was drawn was drawn.

    `questions` are the ids by what is asked (`asked`), for problems that others number otherwise;
    unless `named`, nothing else tells which problem a sample is of.

    Other fields of sampling are refused, `top_logprobs` unless every sample has them.
    """

    sampling = Sampling(max_tokens=1_000_000)
    replays = True

    def __init__(
        self,
        samples: Mapping[str, list[dict[str, Any]]],
        source: str,
        token_seconds: float,
        questions: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
        named: bool = True,
        thinking: Thinking | None = None,
    ) -> None:
        self._thinking = thinking
        self.samples = samples
        self._named = named
        self._questions = questions or {}
        self._notes = notes
        self.source = source
        self.token_seconds = token_seconds
        self._clocks = ClockPerProblem()
        rows = [sample for rows in samples.values() for sample in rows]
        self._has_tops = all(sample.get("top_logprobs") for sample in rows)

    @property
    def thinking(self) -> Thinking | None:
        return self._thinking

    @property
    def problem_ids(self) -> frozenset[str]:
        """The problems there are samples for."""
        return frozenset(self.samples)

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES | {"top_logprobs"} if self._has_tops else EVERYONES

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers has to know."""
        rows = [sample for samples in self.samples.values() for sample in samples]
        guessed = sum(_count(sample)[1] for sample in rows)
        notes = [
            *self._notes,
            f"seconds are virtual: {1 / self.token_seconds:g} tokens a second in each stream",
        ]
        if guessed:
            notes.append(
                f"{guessed} of {len(rows)} recorded samples have no token count; it is estimated "
                f"at {CHARS_A_TOKEN} characters a token"
            )
        return notes

    def covers(self, problem: Problem) -> bool:
        return self._stored(problem) is not None

    def _stored(self, problem: Problem) -> list[dict[str, Any]] | None:
        """A problem's samples: by its id, else by what is asked."""
        if self._named and problem.id in self.samples:
            return self.samples[problem.id]
        return self.samples.get(self._questions.get(asked(problem.question), ""))

    def clock(self, problem: Problem) -> Clock:
        """Every problem has a time of its own."""
        return self._clocks(problem.id)

    def join(self, problem: Problem, clock: Clock) -> None:
        self._clocks.adopt(problem.id, clock)

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        del seed
        stored = self._stored(prompt.problem)
        if stored is None:
            raise RecipeError(
                f"{self.source} has no samples of problem {prompt.problem.id!r}; "
                "is it a recording of this task?"
            )
        whole = prompt.parent.parent is None and prompt.turn is None and not prompt.suffix
        if not whole or params.stop:
            raise RecipeError(
                "recorded samples are whole solutions and cannot be continued step by step; use a "
                "live generator, or a strategy over whole solutions such as self_consistency"
            )
        if prompt.slot >= len(stored):
            raise RecipeError(
                f"sample number {prompt.slot + 1} of problem {prompt.problem.id!r} was asked for, "
                f"and {self.source} has {len(stored)}; lower n to at most {len(stored)}"
            )
        sample = replayed(stored[prompt.slot], params.max_tokens, prompt.begun)
        await stream(sample.generated_tokens, self.token_seconds, self.clock(prompt.problem), meter)
        return sample


def read(path: str | Path, where: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Samples by problem id; rows that share an id are joined in the order of the file.

    Raises RecipeError for what is missing, damaged or without a sample that `where` keeps.
    """
    return _read(recognised(path), path, where)[0]


def _read(
    recording: Recording, path: str | Path, where: Mapping[str, str]
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str], list[str]]:
    """Samples by id, ids by question, and notes on what is left out."""
    samples: dict[str, list[dict[str, Any]]] = {}
    questions: dict[str, str] = {}
    left_out: Counter[str] = Counter()

    def tell(kind: str, what: str) -> None:
        if kind == "lines":
            raise RecipeError(what)
        left_out[kind] += 1

    for row in recording.rows(tell):
        if found := kept(row, where):
            samples.setdefault(row["id"], []).extend(found)
            question = asked(str(row.get("question") or ""))
            if questions.setdefault(question, row["id"]) != row["id"]:
                questions[question] = ""  # the same for several, so it names none
    questions.pop("", None)
    if not samples:
        raise RecipeError(f"{path} holds no sample" + (f" with {dict(where)}" if where else ""))
    return samples, questions, [f"{n} {NOTES[kind]}" for kind, n in left_out.items()]


def asked(question: str) -> str:
    """A question without its white space, by which it is found again."""
    return "".join(question.split())


def replayed(stored: Mapping[str, Any], max_tokens: int, begun: Sample | None = None) -> Sample:
    """The sample as a model limited to `max_tokens` would have given it.

    A longer one is cut where that share of its characters ends, and is not finished; what goes on
    from `begun` is the rest of it.
    """
    tokens, _ = _count(stored)
    text = stored.get("text")
    if text is None:
        # Some recordings keep the answer only.
        text = f"\\boxed{{{stored['answer']}}}" if _answers(stored) else ""
    arrays: dict[str, Any] = {
        name: np.asarray(stored[name], np.float32)
        for name in ("logprobs", "confidence")
        if stored.get(name) is not None and len(stored[name]) == tokens
    }
    tops = stored.get("top_logprobs")
    reason = str(stored.get("finish_reason") or "")
    cut = reason.startswith("length") or (begun is None and tokens >= max_tokens)
    whole = Sample(
        text,
        finish="length" if cut else "end",
        prompt_tokens=int(stored.get("n_prompt_tokens") or 0),
        generated_tokens=tokens,
        info={k: stored[k] for k in ("scores", "score_last") if stored.get(k) is not None} or None,
        top_logprobs=TopLogprobs.from_json(tops) if tops else None,
        **arrays,
    )
    return part(whole, max_tokens, begun=begun)


def _count(stored: Mapping[str, Any]) -> tuple[int, bool]:
    """Tokens of a stored sample, and whether that is a guess."""
    if stored.get("n_tokens") is not None:
        return int(stored["n_tokens"]), False
    text = str(stored.get("text") or (stored["answer"] if _answers(stored) else ""))
    return max(1, round(len(text) / CHARS_A_TOKEN)), True


def _answers(stored: Mapping[str, Any]) -> bool:
    """Whether an answer was kept; 0 is one."""
    return stored.get("answer") not in (None, "")
