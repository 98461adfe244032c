"""Sessions: engines kept for many questions, events while a search runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning import Message, Problem, Session, solve
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import RecipeError
from reasoning.events import Chosen, Done, Drawn, Emitted, Scored
from reasoning.search import Search
from reasoning.testing import ToyVerifier, markov
from reasoning.usage import Usage

TEXTS = ["It is \\boxed{7}", "It is \\boxed{8}", "So it is \\boxed{7}"]


class Counted(Scripted):
    """Counts how often it was started and closed."""

    started = closed = 0

    async def astart(self) -> None:
        self.started += 1

    async def aclose(self) -> None:
        self.closed += 1


def test_engines_are_kept_for_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Counted] = []

    def counted() -> Counted:
        made.append(Counted(TEXTS))
        return made[-1]

    monkeypatch.setattr("reasoning.backends.scripted.scripted", counted)

    async def work() -> list[Any]:
        async with Session(generator="scripted", searcher="self_consistency", n=3) as session:
            one = await session.solve("What is 3 + 4?")
            two = await session.solve("What is 3 + 4?", n=1)
            other = await session.solve("What?", searcher="sample", limits={"tokens": 2})
            assert (made[0].started, made[0].closed) == (1, 0)
        return [one, two, other]

    one, two, other = asyncio.run(work())
    assert (one.answer, len(one.candidates), one.text) == ("7", 3, TEXTS[0])
    assert one.confidence == pytest.approx(2 / 3)
    assert (two.answer, len(two.candidates)) == ("7", 1)
    assert (other.stop_reason, other.usage.generated_tokens) == ("tokens", 2)
    assert (len(made), made[0].started, made[0].closed) == (1, 1, 1)


def test_objects_stay_their_owners() -> None:
    generator = Counted(TEXTS)

    async def work() -> None:
        async with Session(generator=generator, searcher="sample") as session:
            await session.solve("?")

    asyncio.run(work())
    assert (generator.started, generator.closed) == (1, 0)


def test_many_questions_come_back_in_their_order() -> None:
    def script(prompt: Any, seed: int) -> str:
        if "bad" in prompt.messages[-1].content:
            raise RecipeError("never")
        return f"\\boxed{{{len(prompt.messages[-1].content)}}}"

    async def fragile(search: Search) -> None:
        if "odd" in search.problem.question:
            raise LookupError("odd")
        await search.draws(search.root, 1, until="end", land=search.emit)

    async def work() -> list[Any]:
        generator = Scripted(script, delay=lambda seed: seed % 7)
        async with Session(generator=generator, searcher=fragile) as session:
            questions = ["x" * n for n in range(1, 30)] + ["odd"]
            return await session.solve_many(questions, concurrency=4)

    results = asyncio.run(work())
    assert [r.answer for r in results[:-1]] == [str(n) for n in range(1, 30)]
    assert (results[-1].stop_reason, results[-1].failures) == ("failed", ["LookupError: odd"])


def test_conversations_are_questions() -> None:
    seen: list[Any] = []

    def script(prompt: Any, seed: int) -> str:
        seen.append(prompt.messages)
        return "**42**"

    async def work() -> list[Any]:
        async with Session(generator=Scripted(script), searcher="sample") as session:
            turns = [
                {"role": "system", "content": "Be brief."},
                Message("user", "Hello"),
                Message("assistant", "Hi"),
                {"role": "user", "content": "What is 6 * 7?"},
            ]
            first = await session.solve(turns)
            await session.solve(Problem("p", "plain"))
            for wrong in ([], [Message("assistant", "x")], [{"text": "x"}], ["x"]):
                with pytest.raises(RecipeError, match="a conversation is a list of messages"):
                    await session.solve(wrong)
            return [first]

    (result,) = asyncio.run(work())
    assert result.answer == "42"
    assert [m.content for m in seen[0]] == ["Be brief.", "Hello", "Hi", "What is 6 * 7?"]
    assert seen[1] == (Message("user", "plain"),)


def test_a_session_is_entered_first() -> None:
    session = Session(generator=Scripted(TEXTS), searcher="sample")
    with pytest.raises(RecipeError, match="async with"):
        asyncio.run(session.solve("?"))
    with pytest.raises(RecipeError, match="unknown searcher"):
        Session(generator="scripted", searcher="smaple")


MODEL = markov({"": {"a": 1.0}, "a": {"1": 0.5, "2": 0.5}})


def test_events_tell_what_happens() -> None:
    async def work() -> list[Any]:
        generator = Scripted(TEXTS, token_seconds=1.0)
        verifier = ToyVerifier(MODEL, lambda _: 0.5)
        async with Session(
            generator=generator, verifier=verifier, searcher="best_of_n", n=2
        ) as session:
            return [event async for event in session.stream("What is 3 + 4?")]

    events = asyncio.run(work())
    kinds = [type(event) for event in events]
    assert kinds.count(Drawn) == kinds.count(Scored) == kinds.count(Emitted) == 2
    assert kinds[-2:] == [Chosen, Done]
    drawn = [event for event in events if isinstance(event, Drawn)]
    assert {event.text for event in drawn} == set(TEXTS[:2])
    assert all((event.finish, event.tokens) == ("end", 3) for event in drawn)
    chosen, done = events[-2:]
    assert (chosen.path, chosen.answer, chosen.text) == ((0,), "7", TEXTS[0])
    assert done.result.answer == "7"


def test_who_stops_listening_ends_the_search() -> None:
    generator = Scripted(TEXTS, token_seconds=1.0)

    async def work() -> None:
        async with Session(generator=generator, searcher="self_consistency", n=3) as session:
            stream = session.stream("?")
            async for event in stream:
                assert isinstance(event, Drawn)
                break
            await stream.aclose()
            assert generator.live == 0

    asyncio.run(work())


def test_errors_reach_who_listens() -> None:
    async def broken(search: Search) -> None:
        raise LookupError("a bug")

    async def work() -> None:
        async with Session(generator=Scripted(TEXTS), searcher=broken) as session:
            with pytest.raises(LookupError, match="a bug"):
                async for _ in session.stream("?"):
                    pass

    asyncio.run(work())


@pytest.mark.parametrize("name", ["default", ""])
@pytest.mark.parametrize(
    ("money", "spent", "why"),
    [(0.0, 0.0, "money"), (0.001, 0.0, "money"), (0.01, 0.004, "money"), (0.1, 0.016, "finished")],
)
def test_money_binds_whatever_the_price_is_called(
    name: str, money: float, spent: float, why: str
) -> None:
    found = solve(
        "q",
        generator=Scripted(["a b c \\boxed{1}"]),
        searcher="self_consistency",
        n=4,
        prices={name: {"output": 1000, "input": 1}},
        limits={"money": money},
    )
    assert found.usage.money is not None
    assert found.usage.money <= money
    assert found.usage.money >= spent
    assert found.stop_reason == why


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"prices": {"smal": {"output": 1}}}, "unknown model in prices 'smal'"),
        ({"prices": {"default": {"output": -1}}}, "a price is 0 or more"),
        ({"limits": {"money": 1}}, "what tokens cost"),
    ],
)
def test_mistakes_about_money(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(RecipeError, match=word):
        solve("q", generator=Scripted(["a"]), searcher="sample", **settings)


@pytest.mark.parametrize(
    ("questions", "concurrency", "message"),
    [
        (["q"], 0, "concurrency is 0"),
        (["q"], 1.5, "concurrency is 1.5; it is a whole number"),
        ("What is 2 + 3?", 1, "questions are a list, not 'What is 2"),
        (5, 1, "questions are a list, not 5"),
    ],
)
def test_many_takes_a_list_and_at_least_one_at_a_time(
    questions: Any, concurrency: Any, message: str
) -> None:
    async def work() -> None:
        async with Session(generator=Scripted(["a"]), searcher="sample") as session:
            await session.solve_many(questions, concurrency=concurrency)

    with pytest.raises(RecipeError, match=message):
        asyncio.run(work())


def test_a_session_that_has_closed_its_engines_is_not_entered_again() -> None:
    async def work() -> None:
        session = Session(generator="scripted", searcher="sample")
        async with session:
            pass
        with pytest.raises(RecipeError, match="has been left, which has closed the engines"):
            await session.__aenter__()

    asyncio.run(work())


def test_a_price_that_is_not_known_is_not_nothing() -> None:
    async def both(search: Search) -> None:
        for name in ("", "dear"):
            await search.draws(search.root, 1, until="end", model=name, land=search.emit)

    settings: dict[str, Any] = {
        "generator": Scripted(["a \\boxed{1}"]),
        "models": {"dear": Scripted(["b \\boxed{1}"])},
        "searcher": both,
    }
    known = {"": {"output": 1}}
    assert solve("q", **settings, prices=known).usage.money is None
    assert solve("q", **settings, prices={**known, "dear": {}}).usage.money is not None
    with pytest.raises(RecipeError, match=r"limits\.money needs .* nobody says it of dear; add"):
        solve("q", **settings, prices=known, limits={"money": 1})
    spent, unknown, idle = Usage(calls=1, money=2.0), Usage(calls=1), Usage()
    assert (spent + unknown).money is None
    assert (idle + spent).money == 2.0


def test_money_without_a_price_is_refused_when_it_is_asked_for() -> None:
    found = Search(Problem("p", "q"), Scripted(["a"]), budget=Budget(money=1.0))
    with pytest.raises(RecipeError, match="nobody says what the model asked by default costs"):
        asyncio.run(found.draw(found.root))


def test_a_session_is_entered_once_at_a_time() -> None:
    async def work() -> None:
        session = Session(generator=Scripted(["\\boxed{1}"]), searcher="sample")
        async with session:
            with pytest.raises(RecipeError, match="has been entered already"):
                async with session:
                    pass
            assert (await session.solve("q")).answer == "1", "it stays open"
        async with session:
            assert (await session.solve("q")).answer == "1", "and may be entered again"

    asyncio.run(work())
