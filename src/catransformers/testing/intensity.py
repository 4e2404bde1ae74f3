"""The conformance kit of a source of grid carbon intensity.

    class TestMine(IntensitySourceConformance):
        def source(self): return MySource
        def environ(self): return {"MY_TOKEN": "secret-1234"}
        def secrets(self): return ("MY_TOKEN",)
        def zone(self): return "DE"
        def answer(self, url): return {"values": [{"time": "2026-11-21T10:00Z", "gCO2": 300}, …]}

Nothing here speaks to the network. A source that passes gives profiles, refuses nonsense, and keeps its keys to itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from catransformers.errors import CatransformersError, InputError
from catransformers.intensity.hourly import IntensityProfile
from catransformers.intensity.http import Http, RefusedError, SourceError
from catransformers.intensity.source import IntensitySource

_NONSENSE: tuple[Any, ...] = ({}, [], None, "no", 7, {"data": {}}, {"data": []}, [{}], {"forecast": [{}]})
_MOST_KG_PER_KWH = 3.0  # beyond the dirtiest plant


class _Answers(Http):
    """Says what it is told to, and remembers addresses."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        super().__init__()
        object.__setattr__(self, "answer", answer)
        object.__setattr__(self, "asked", [])

    def get_json(
        self, who: str, url: str, *, headers: Mapping[str, str] | None = None, secrets: Collection[str] = ()
    ) -> Any:
        self.asked.append(url)  # type: ignore[attr-defined] # set above, past the frozen class
        return self.answer(url)  # type: ignore[attr-defined]


class IntensitySourceConformance(ABC):
    """All that a source must do. Inherit it, and say what it is and what its service answers."""

    #: The time at which `answer` is given.
    now = datetime(2026, 11, 21, 10, 5, tzinfo=UTC)

    @abstractmethod
    def source(self) -> type[IntensitySource]:
        """The class."""

    @abstractmethod
    def environ(self) -> Mapping[str, str]:
        """Environment variables with which it works."""

    @abstractmethod
    def secrets(self) -> Collection[str]:
        """Those of the variables that hold keys; may be empty."""

    @abstractmethod
    def zone(self) -> str:
        """A zone that it knows."""

    @abstractmethod
    def answer(self, url: str) -> Any:
        """What the service answers, as JSON, to a question of `now` and the hours after it."""

    def test_answers_become_a_profile(self) -> None:
        """Of the zone, from no later than the hour after `now`, with values that a grid can have."""
        found = self._fetched(self.answer)
        assert found.origin.zone == self.zone(), f"a profile of {found.origin.zone!r}"
        assert found.origin.source, "the profile does not say where it is from"
        assert found.start <= self.now + timedelta(hours=1), f"the profile begins at {found.start}"
        wrong = [value for value in found.intensity_kg_per_kwh if not 0 <= value <= _MOST_KG_PER_KWH]
        assert not wrong, f"{wrong[0]} kg/kWh is no grid's; is the unit right?"

    def test_nonsense_is_refused(self) -> None:
        """An answer that is none ends in an error of ours."""
        for answer in _NONSENSE:
            fault = self._fault(_saying(answer))
            assert isinstance(fault, SourceError), f"the answer {answer!r} ends in {fault!r}, not in a SourceError"

    def test_a_missing_key_is_named(self) -> None:
        """Without a key the message names the variable."""
        for name in self.secrets():
            environ = {key: value for key, value in self.environ().items() if key != name}
            try:
                self.source().from_environment(environ)
            except InputError as error:
                assert name in str(error), f"the message does not name {name}: {error}"
            else:
                raise AssertionError(f"made without {name}")

    def test_keys_stay_secret(self) -> None:
        """No key is in an address, in what the client says of itself, or in a message."""
        http = _Answers(self.answer)
        environ = self.environ()
        client = self.source().from_environment(environ)
        client.fetch(self.zone(), self.now, self.now + timedelta(hours=6), self.now, http)
        texts = [repr(client), self.source().address(environ), *http.asked]  # type: ignore[attr-defined]
        for status in (400, 403, 404, *([401] if self.secrets() else [])):
            fault = self._fault(_refusing(status))
            assert isinstance(fault, InputError), f"a refusal with {status} ends in {fault!r}, not in an InputError"
            texts.append(str(fault))
        leaks = [name for name in self.secrets() for text in texts if environ[name] in text]
        assert not leaks, f"the value of {leaks[0]} can be read"

    def _fetched(self, answer: Callable[[str], Any]) -> IntensityProfile:
        client = self.source().from_environment(self.environ())
        return client.fetch(self.zone(), self.now, self.now + timedelta(hours=6), self.now, _Answers(answer))

    def _fault(self, answer: Callable[[str], Any]) -> CatransformersError | None:
        try:
            self._fetched(answer)
        except CatransformersError as error:
            return error
        return None


def _saying(answer: Any) -> Callable[[str], Any]:
    return lambda url: answer


def _refusing(status: int) -> Callable[[str], Any]:
    def refuse(url: str) -> Any:
        raise RefusedError(f"the service said {status}", status)

    return refuse
