"""A server on this machine that says what it is told to, and remembers what it was asked."""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Asked:
    path: str
    query: dict
    headers: dict


@dataclass
class Answer:
    body: object = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0  # seconds between bytes
    announce: int | None = None  # bytes announced, if not those that are sent

    @property
    def content(self):
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class IntensityServer:
    """Answers by path, in order; the last answer of a path is given again and again."""

    def __init__(self):
        self.answers, self.asked = {}, []
        handler = type("Handler", (_Handler,), {"server_": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def says(self, path, *answers):
        self.answers[path] = [a if isinstance(a, Answer) else Answer(a) for a in answers]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)


class _Handler(BaseHTTPRequestHandler):
    server_: IntensityServer

    def do_GET(self):
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server_.asked.append(Asked(parts.path, query, {k.lower(): v for k, v in self.headers.items()}))
        waiting = self.server_.answers.get(parts.path, [Answer({"error": "no such path"}, 404)])
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        time.sleep(answer.delay_s)
        try:
            self.send_response(answer.status)
            length = len(answer.content) if answer.announce is None else answer.announce
            self.send_header("Content-Length", str(length))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for n in range(len(answer.content) if answer.drip_s else 0):
                self.wfile.write(answer.content[n : n + 1])
                time.sleep(answer.drip_s)
            if not answer.drip_s:
                self.wfile.write(answer.content)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, *_):
        pass
