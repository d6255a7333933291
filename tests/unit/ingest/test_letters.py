"""Questions about dead letters: a few at a time, the rest refused at once."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from infra.letters.desk import Found, NotProduced, Wanted
from infra.letters.log import LettersError, LogError
from infra.settings import Settings
from ingest.api.letters import letters_answered
from ingest.api.problems import Problem
from ingest.letters import LetterReader, LettersBusy

NOW = datetime(2026, 11, 25, tzinfo=UTC)
MOST = 10


class SlowDesk:
    """Answers once it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.at_once = 0
        self.most = 0
        self._lock = threading.Lock()

    def find(self, *_: object) -> Found:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.let.wait(30)
        with self._lock:
            self.at_once -= 1
        return Found()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 a thread tells nobody
            await asyncio.sleep(0.01)


async def test_more_than_a_few_questions_are_refused_at_once_and_taken_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, desk = LetterReader(Settings()), SlowDesk()
    monkeypatch.setattr(reader, "_desk", desk)
    asked = [asyncio.create_task(reader.find(Wanted(), NOW, 1)) for _ in range(MOST)]
    await until(lambda: desk.at_once == 2)
    with pytest.raises(LettersBusy):
        await reader.find(Wanted(), NOW, 1)
    # One who leaves frees no thread: it is at work until Kafka has answered.
    asked[0].cancel()
    await asyncio.sleep(0)
    with pytest.raises(LettersBusy):
        await reader.find(Wanted(), NOW, 1)
    desk.let.set()
    await asyncio.wait(asked)
    assert desk.most == 2
    await until(lambda: reader._open == 0)
    assert await reader.find(Wanted(), NOW, 1) == Found()
    reader.close()


async def test_a_kafka_that_does_not_answer_ends_a_question_within_its_deadline() -> None:
    reader = LetterReader(Settings(kafka="127.0.0.1:1", letters_timeout=1.0))
    async with asyncio.timeout(20):
        with pytest.raises(LettersError):
            await reader.find(Wanted(), NOW, 1)
    reader.close()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LettersBusy(), "overloaded"),
        (LogError("Kafka at 10.0.0.1:9092 is away"), "dependency_unavailable"),
        (NotProduced("no answer"), "dependency_unavailable"),
    ],
)
def test_what_goes_wrong_is_a_problem_that_quotes_nothing(error: Exception, code: str) -> None:
    with pytest.raises(Problem) as raised, letters_answered():
        raise error
    assert raised.value.code == code
    assert "10.0.0.1" not in (raised.value.detail or "")
