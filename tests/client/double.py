"""A double of the host's HTTP face: it notes what it is asked and answers what the test put there."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec


class Double(httpx.AsyncBaseTransport):
    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.headers: dict[str, str] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        status, body = self.answers.pop(0)
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return httpx.Response(status, content=content, headers=self.headers)

    def body(self, n: int = 0) -> Any:
        return msgspec.json.decode(self.requests[n].content)

    def line(self, n: int = 0) -> str:
        request = self.requests[n]
        return f"{request.method} {request.url.raw_path.decode()}"
