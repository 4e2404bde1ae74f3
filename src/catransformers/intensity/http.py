"""HTTPS client for JSON services: time-outs, a few tries, and no way for a key to leak.

- A try is repeated after 429, 500, 502, 503, 504, a broken connection or a time-out, with growing pauses; `Retry-After`
  is obeyed, and given up on if it asks for longer than a person would wait.
- Redirects are not followed: the library would send the key along to wherever they lead.
- Keys go only over HTTPS (or to this very machine), with the certificate verified, and are struck out of whatever the
  service says back before anybody sees it.
"""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from catransformers import __version__
from catransformers.errors import CatransformersError, InputError, Problem

AGAIN = frozenset({429, 500, 502, 503, 504})
OFFLINE = "CATRANSFORMERS_OFFLINE"
_MOST_BYTES = 32 * 1024 * 1024
_CHUNK = 64 * 1024
_EXCERPT = 200


class SourceError(CatransformersError):
    """A service on the network gave no usable answer."""


class RefusedError(SourceError):
    """A service understood and said no, with an HTTP status of 400 to 499."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Http:
    """How patiently to ask.

    Args:
        timeout_s: for a connection, for each read, and (doubled) for a whole answer.
        tries: at most.
        backoff_s: pause before the second try; doubles with each.
        longest_wait_s: a longer `Retry-After` ends the tries.
        sleep, clock: injectable; seconds.
    """

    timeout_s: float = 10.0
    tries: int = 4
    backoff_s: float = 1.0
    longest_wait_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def get_json(
        self, who: str, url: str, *, headers: Mapping[str, str] | None = None, secrets: Collection[str] = ()
    ) -> Any:
        """What the service answers.

        Args:
            who: the service, for messages.
            url: with its query; must hold no key.
            headers: to send along.
            secrets: to strike out of messages.

        Raises:
            RefusedError: if it says no (HTTP 400 to 499, other than 429).
            SourceError: if it cannot be reached, keeps failing, or does not answer in JSON.
        """
        request = urllib.request.Request(  # noqa: S310 - `base_url` has checked the scheme
            url,
            headers={"Accept": "application/json", "User-Agent": f"catransformers/{__version__}", **(headers or {})},
        )
        opener = urllib.request.build_opener(*_handlers(url))
        for number in range(1, self.tries + 1):
            wait = self.backoff_s * 2 ** (number - 1)
            try:
                return _parsed(who, self._read(opener, request))
            except urllib.error.HTTPError as error:
                trouble, wait = self._judge(who, error, secrets, wait)
            except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
                trouble = _unreachable(who, error)
            if number < self.tries:
                self.sleep(wait)
        raise SourceError(f"{who}: {trouble}, {self.tries} times")

    def _read(self, opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> bytes:
        deadline = self.clock() + 2 * self.timeout_s
        with opener.open(request, timeout=self.timeout_s) as answer:
            parts, size = [], 0
            while chunk := answer.read1(_CHUNK):
                parts.append(chunk)
                size += len(chunk)
                if size > _MOST_BYTES:
                    raise http.client.HTTPException("the answer is too long")
                if self.clock() > deadline:
                    raise TimeoutError
            if answer.length:  # the connection ended before what was announced
                raise http.client.IncompleteRead(b"", answer.length)
        return b"".join(parts)

    def _judge(
        self, who: str, error: urllib.error.HTTPError, secrets: Collection[str], wait: float
    ) -> tuple[str, float]:
        """What a status says, and how long to wait before another try; raises if none is worth while."""
        with error:
            asked = _retry_after(error.headers.get("Retry-After"))
            try:
                said = _excerpt(error.read(_CHUNK), secrets)
            except (OSError, http.client.HTTPException):
                said = ""
        text = f"answered with HTTP status {error.code}" + (f" ({said})" if said else "")
        if error.code not in AGAIN:
            if 400 <= error.code < 500:
                raise RefusedError(f"{who}: {text}", error.code)
            raise SourceError(f"{who}: {text}")
        if asked is not None and asked > self.longest_wait_s:
            raise SourceError(f"{who}: {text} and asks to wait {asked:,.0f} s; try again then")
        return text, max(wait, asked or 0.0)


def base_url(text: str, where: str, *, secret: bool) -> str:
    """A service's address without a slash at its end.

    Args:
        text: from the package, or from the environment.
        where: the variable that it is from, for messages, which never show the address itself.
        secret: whether a key will be sent there.

    Raises:
        InputError: if it is no address of HTTP, has a password or a query in it, or is not fit for a key.
    """
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    allowed = "https://host or https://host/path, without a password or a query"
    if (
        parts.scheme not in ("http", "https")
        or not host
        or parts.query
        or parts.fragment
        or not _printable(text.strip())
    ):
        raise InputError(Problem(where, "is not the address of a service", allowed))
    if parts.username is not None or parts.password is not None:
        raise InputError(Problem(where, "has a user or a password in it", allowed))
    if secret and parts.scheme == "http" and not _this_machine(host):
        raise InputError(Problem(where, "would send a key over HTTP, readable by everybody on the way", "https://"))
    return text.strip().rstrip("/")


def secret_of(environ: Mapping[str, str], name: str) -> str:
    """A key from the environment.

    Raises:
        InputError: if it is missing, or cannot be a key; its value is never shown.
    """
    value = environ.get(name, "").strip()
    if not value:
        raise InputError(Problem(name, "is not set", hint=f"set it in the environment: export {name}=…"))
    if not _printable(value):
        raise InputError(Problem(name, "holds characters that no key has", "letters, digits and signs, no spaces"))
    return value


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether the environment forbids the network (`CATRANSFORMERS_OFFLINE=1`)."""
    return environ.get(OFFLINE, "").strip().casefold() not in ("", "0", "false", "no")


def environment() -> Mapping[str, str]:
    """The process's environment, the only place that keys are taken from."""
    return os.environ


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None  # the 30x then ends as an error


def _handlers(url: str) -> list[urllib.request.BaseHandler | type[urllib.request.BaseHandler]]:
    """Verified certificates, no redirects, and no proxy in between where plain HTTP stays on this machine."""
    handlers: list[urllib.request.BaseHandler | type[urllib.request.BaseHandler]] = [
        _NoRedirects,
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
    ]
    if _this_machine(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    return handlers


def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable() and not any(character.isspace() for character in text)


def _this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parsed(who: str, body: bytes) -> Any:
    def refuse(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{who}: answered with something that is not JSON ({len(body):,} bytes)") from error


def _unreachable(who: str, error: Exception) -> str:
    """Why a try failed; raises if another would fail in the same way."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise SourceError(f"{who}: its certificate cannot be verified ({reason.verify_message})") from error
    if isinstance(reason, TimeoutError):
        return "did not answer in time"
    if isinstance(reason, http.client.HTTPException):
        return f"sent a broken answer ({type(reason).__name__})"
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason) or type(reason).__name__
    return f"cannot be reached ({text})"


def _retry_after(text: str | None) -> float | None:
    """Seconds that a `Retry-After` asks for: a number, or a date."""
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _excerpt(body: bytes, secrets: Collection[str]) -> str:
    """The beginning of what a service says, in one line, without secrets and control characters."""
    text = body.decode("utf-8", errors="replace")
    for secret in secrets:
        text = text.replace(secret, "…") if secret else text
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text[:_EXCERPT] + ("…" if len(text) > _EXCERPT else "")
