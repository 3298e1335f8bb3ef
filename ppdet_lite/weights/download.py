"""Fetches weight files named by address once and keeps them in a cache folder.

A download is written beside its final name and renamed when it is complete; one that was cut off
goes on where it stopped, if the server still has the same file. Only https is used, and http from
servers on this machine.
"""

import hashlib
import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Optional

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.utils.files import lock_file, sha256_of
from ppdet_lite.utils.logger import get_logger, progress_bar
from ppdet_lite.weights.files import read_weights

_BLOCK = 1 << 18
_TIMEOUT_S = 30
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HTML = (b"<!doctype html", b"<html", b"<?xml")
_ROOM = 64 << 20  # bytes of a disk that stay free


class _Refused(Exception):
    """An answer that is not the file; nothing of it is kept."""


def is_url(path: str) -> bool:
    """True for a file that must be fetched over the network."""
    return str(path).startswith(("http://", "https://"))


def cache_folder() -> str:
    """`$PPDET_LITE_CACHE`, else `~/.cache/ppdet_lite`, with `/weights`."""
    base = os.environ.get("PPDET_LITE_CACHE") or os.path.join(
        os.path.expanduser("~"), ".cache", "ppdet_lite"
    )
    return os.path.join(base, "weights")


def fetch_weights(url: str, folder: str = "") -> str:
    """Path of the file behind `url`, downloaded if it is not there yet. Processes that want the
    same file at once share one download.

    Args:
        url: its SHA-256 may follow: `https://host/model.pdparams#sha256=...`.
        folder: in place of `cache_folder()`.

    Raises:
        CheckpointError: the download failed or is not the file; says how to go on without it.
    """
    address, _, fragment = url.partition("#")
    wanted = fragment[len("sha256=") :].lower() if fragment.startswith("sha256=") else ""
    target = folder = folder or cache_folder()
    try:
        target = os.path.join(folder, _cache_name(address))
        os.makedirs(folder, exist_ok=True)
        with open(f"{target}.lock", "wb") as lock:
            if not lock_file(lock, wait=False):
                get_logger().info("Another process downloads %s; waiting for it", address)
                lock_file(lock)
            if not os.path.isfile(target):
                get_logger().info("Downloading %s to %s", address, target)
                _Download(address, f"{target}.part", wanted).run()
                os.replace(f"{target}.part", target)
            elif wanted and sha256_of(target) != wanted:
                raise _Refused(f"{target} has another SHA-256 than the address; delete it")
    except (OSError, HTTPException, ValueError, _Refused) as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(
            f"cannot download {address}: {reason}. Put the file at {target} yourself, name a local "
            "file, or start a training from random weights with pretrain_weights=null"
        ) from None
    return target


def _cache_name(address: str) -> str:
    """A file name of its own for every address, with the ending that tells the format."""
    last = urllib.parse.urlsplit(address).path.rstrip("/").rpartition("/")[2]
    stem, ending = os.path.splitext(re.sub(r"[^\w.\-]", "_", last).lstrip("."))
    digest = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{stem[:60] or 'weights'}-{digest[:12]}{ending[:20]}"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to addresses that are as safe as the first."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Optional[urllib.request.Request]:
        _check_address(newurl, secure=req.full_url.startswith("https:"))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(address: str, secure: bool = False) -> None:
    parts = urllib.parse.urlsplit(address)
    is_local = parts.scheme == "http" and parts.hostname in _LOCAL and not secure
    if not parts.hostname or not (parts.scheme == "https" or is_local):
        raise _Refused(f"found the address {address}, allowed: https")


class _Download:
    """One download into the file `part`, beside which the server's mark of the version is kept."""

    def __init__(self, address: str, part: str, sha256: str):
        self.address = urllib.parse.quote(address, safe="%/:=&?~+!$,;'@()*[]")
        self.part, self.mark = part, f"{part}.version"
        self.sha256 = sha256
        self.opener = urllib.request.build_opener(_Redirects)

    def run(self) -> None:
        """Raises `_Refused` for an answer that is not the file, OSError for a cut connection."""
        _check_address(self.address)
        have, version = self._earlier_part()
        try:
            self._fetch(have, version)
            self._check_content()
        except _Refused:
            self._remove()
            raise
        with suppress(OSError):
            os.remove(self.mark)

    def _earlier_part(self) -> tuple[int, str]:
        """Bytes that are there, and the version that they are of; none without both."""
        try:
            have = os.path.getsize(self.part)
            with open(self.mark, encoding="utf-8") as stream:
                return have, str(json.load(stream)["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def _fetch(self, have: int, version: str) -> None:
        headers = {"Range": f"bytes={have}-", "If-Range": version} if have else {}
        request = urllib.request.Request(self.address, headers=headers)
        try:
            response = self.opener.open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not have:  # the part is longer than the file
                raise
            self._fetch(0, "")
            return
        with response:
            goes_on = response.status == 206
            if not goes_on or self._continues(response.headers, have, version):
                self._receive(response, have if goes_on else 0)
                return
        self._fetch(0, "")

    def _continues(self, headers: HTTPMessage, have: int, version: str) -> bool:
        same = not _version_of(headers) or _version_of(headers) == version
        return same and headers.get("Content-Range", "").startswith(f"bytes {have}-")

    def _receive(self, response: Any, have: int) -> None:
        """Writes the body of a response from position `have` on."""
        headers = response.headers
        if "html" in headers.get("Content-Type", ""):
            raise _Refused("the server answered with a page of HTML")
        length = headers.get("Content-Length")
        is_chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
        if length is None and not is_chunked and not self.sha256:
            raise _Refused("the server does not tell the length, so a cut file could not be told")
        total = have + int(length) if length else None
        folder = os.path.dirname(self.part)
        if total and total - have > shutil.disk_usage(folder).free - _ROOM:
            raise _Refused(f"no room for {total} bytes in {folder}")
        if version := _version_of(headers):
            with open(self.mark, "w", encoding="utf-8") as stream:
                json.dump({"version": version}, stream)
        elif not have:
            with suppress(OSError):  # of an earlier answer
                os.remove(self.mark)
        name = os.path.basename(self.part)
        bar = progress_bar(total, name, unit="B", initial=have)
        with bar, open(self.part, "ab" if have else "wb") as stream:
            while block := response.read(_BLOCK):
                stream.write(block)
                bar.update(len(block))
        size = os.path.getsize(self.part)
        if total is not None and size < total:
            raise OSError(
                f"the connection ended after {size} of {total} bytes; start again to fetch the rest"
            )

    def _check_content(self) -> None:
        with open(self.part, "rb") as stream:
            begin = stream.read(512).lstrip().lower()
        if not begin or begin.startswith(_HTML):
            raise _Refused("the server answered with " + ("a page of HTML" if begin else "nothing"))
        if self.sha256 and (found := sha256_of(self.part)) != self.sha256:
            raise _Refused(f"SHA-256: found {found}, allowed: {self.sha256}")
        try:
            read_weights(self.part, self.part.endswith(".safetensors.part"))
        except CheckpointError as error:
            problem = str(error).replace(f"{self.part}: ", "")
            raise _Refused(f"the server answered with no weight file: {problem}") from None

    def _remove(self) -> None:
        for path in (self.part, self.mark):
            with suppress(OSError):
                os.remove(path)


def _version_of(headers: HTTPMessage) -> str:
    """What names this very version of a file; empty where the server has no strong mark."""
    mark = headers.get("ETag") or headers.get("Last-Modified") or ""
    return "" if mark.startswith("W/") else mark
