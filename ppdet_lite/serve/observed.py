"""Counting of requests, and headers for browsers, around an application."""

from typing import Any

from ppdet_lite.serve.metrics import Metrics

PATHS = ("/", "/docs", "/health", "/metrics", "/model", "/openapi.json", "/predict", "/ready")
"""Paths with figures of their own; the others count together."""

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    ),
)


class Observed:
    """An ASGI application in which every answer is counted and gets HEADERS."""

    def __init__(self, app: Any, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in PATHS else "other"

        async def send_counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
                self.metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, send_counted)
