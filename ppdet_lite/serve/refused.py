"""Requests that are not answered with boxes."""

from typing import Optional


class Refused(Exception):
    """An answer with an HTTP status of an error and its reason.

    Attributes:
        status: the status.
        reason: one line for people.
        headers: of the answer.
    """

    def __init__(self, status: int, reason: str, headers: Optional[dict[str, str]] = None):
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or {}
