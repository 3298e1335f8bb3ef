"""Images from the body of a request, within limits."""

import asyncio
import contextlib
from typing import Any, NamedTuple

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from ppdet_lite.serve.refused import Refused
from ppdet_lite.serve.settings import ServeSettings

DRAIN_SECONDS = 2.0
"""Time for the rest of a body that was refused: a client that is still sending would not see the
answer."""

MOST_NAME = 120
"""Characters of a file name in answers."""


class SentImage(NamedTuple):
    """An image file as it was sent."""

    name: str
    content: bytes


class RequestBody:
    """The body of a request, read once.

    Raises:
        Refused: 413 for a body that is too large or holds too many images, 408 for one that does
            not come in time, 400 for one that ends early, is empty or is no form, 415 for a
            compressed one.
    """

    def __init__(self, request: Request, settings: ServeSettings):
        self._request, self._settings = request, settings
        self._bytes, self._is_whole = 0, False

    @property
    def size(self) -> int:
        """Bytes as its header says; of one that does not say, the largest that is allowed."""
        length = self._request.headers.get("content-length", "")
        most = self._settings.max_bytes
        return min(int(length), most) if length.isdecimal() else most

    async def images(self) -> list[SentImage]:
        """The files of a form in their order, or the body itself as the only one."""
        self._check_headers()
        try:
            sent = await asyncio.wait_for(self._read(), self._settings.max_seconds)
        except asyncio.TimeoutError:
            limit = f"{self._settings.max_seconds:g} s"
            raise Refused(408, f"the body did not arrive in {limit}") from None
        except ClientDisconnect:
            raise Refused(400, "the connection was closed before the body ended") from None
        if len(sent) > self._settings.max_images:
            most = self._settings.max_images
            raise Refused(413, f"{len(sent)} images in one request, allowed: {most}")
        if empty := [image.name for image in sent if not image.content]:
            raise Refused(400, f"{', '.join(empty)}: empty, allowed: the content of an image file")
        return sent

    async def drain(self) -> None:
        """Reads and drops the rest of a body that was refused, for a short time."""
        if self._is_whole or "expect" in self._request.headers:  # it waits before it sends
            return
        self._bytes = 0
        with contextlib.suppress(asyncio.TimeoutError, Refused):
            await asyncio.wait_for(self._to_its_end(), DRAIN_SECONDS)

    def _check_headers(self) -> None:
        headers, limit = self._request.headers, self._settings.max_bytes
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            raise Refused(413, f"a body of {length} bytes, allowed: {limit}")
        coding = headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            raise Refused(415, f"Content-Encoding: found {coding[:40]}, allowed: none")

    async def _read(self) -> list[SentImage]:
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        request = Request(self._request.scope, self._receive)
        if kind != "multipart/form-data":
            return [SentImage("body", await request.body())]
        try:
            # One more file than allowed, for a message with their number.
            async with request.form(max_files=self._settings.max_images + 1) as form:
                parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
                sent = [SentImage(_shown(part.filename), await part.read()) for part in parts]
        except HTTPException as error:  # the parser's
            if error.detail.startswith("Too many files"):
                most = self._settings.max_images
                raise Refused(413, f"too many images in one request, allowed: {most}") from None
            raise Refused(400, f"the form cannot be read: {error.detail}") from None
        if not sent:
            raise Refused(400, "no file in the form, allowed: one or more image files")
        return sent

    async def _receive(self) -> Any:
        message = await self._request.receive()
        self._is_whole = not message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._settings.max_bytes:
            limit = self._settings.max_bytes
            raise Refused(413, f"a body of more than {limit} bytes, allowed: {limit}")
        return message

    async def _to_its_end(self) -> None:
        while not self._is_whole:
            await self._receive()


def _shown(name: object) -> str:
    """A file name in one line of moderate length."""
    text = "".join(letter for letter in str(name or "file") if letter.isprintable())
    return text if len(text) <= MOST_NAME else f"{text[:MOST_NAME]}..."
