"""Fetches weight files named by address once and keeps them in a cache folder.

A download is written beside its final name and renamed when it is complete; one that was cut off
goes on where it stopped, if the server still has the same file. Only https is used, and http from
servers on this machine. The SHA-256 of every file is kept beside it and compared at every use.
"""

import hashlib
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Callable, Optional

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.utils.files import lock_file, replacing, sha256_of
from ppdet_lite.utils.logger import get_logger, progress_bar
from ppdet_lite.weights.files import read_weights

_BLOCK = 1 << 18
_TIMEOUT_S = 30
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HTML = (b"<!doctype html", b"<html", b"<?xml")
_ROOM = 64 << 20  # bytes of a disk that stay free


class _Refused(Exception):
    """An answer that is not the file; nothing of it is kept."""


class _OtherContent(_Refused):
    """A whole file with another hash."""


def is_url(path: str) -> bool:
    """True for a file that must be fetched over the network."""
    return str(path).startswith(("http://", "https://"))


def cache_folder() -> str:
    """`$PPDET_HOME`, else `$PPDET_LITE_CACHE`, else `~/.cache/ppdet_lite`, with `/weights`."""
    default = os.path.join("~", ".cache", "ppdet_lite")
    base = os.environ.get("PPDET_HOME") or os.environ.get("PPDET_LITE_CACHE") or default
    return os.path.join(os.path.expanduser(base), "weights")


def offline_by_environment() -> bool:
    """True if `$PPDET_OFFLINE` forbids the network."""
    return os.environ.get("PPDET_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


def check_native(path: str, name: str) -> None:
    """Raises a CheckpointError unless the file holds weights of Paddle; `name` has its ending."""
    read_weights(path, name.endswith(".safetensors"))


@dataclass(frozen=True)
class RemoteFile:
    """A file behind an address.

    Attributes:
        name: of the file in the cache; by default one that is made of the address.
        size: in bytes, where it is known.
        sha256: where it is known; the fragment of an address, `#sha256=...`, gives it as well.
        check: raises a CheckpointError for a file (path, name) that is something else.
    """

    address: str
    name: str = ""
    size: Optional[int] = None
    sha256: str = ""
    check: Callable[[str, str], None] = check_native

    @classmethod
    def at(cls, url: str) -> "RemoteFile":
        """The file behind `https://host/model.pdparams` or `...#sha256=...`."""
        address, _, fragment = url.partition("#")
        known = fragment[len("sha256=") :].lower() if fragment.startswith("sha256=") else ""
        return cls(address, sha256=known)

    def path(self, folder: str = "") -> str:
        """Its place in `folder`, by default `cache_folder()`."""
        return os.path.join(folder or cache_folder(), self.name or _cache_name(self.address))


def fetch_weights(url: str, folder: str = "", *, offline: bool = False) -> str:
    """`fetch_file` for the file of Paddle's behind `url`."""
    return fetch_file(RemoteFile.at(url), folder, offline=offline)


def fetch_file(file: RemoteFile, folder: str = "", *, offline: bool = False) -> str:
    """Path of a file, downloaded if it is not there yet. Processes that want the same file at once
    share one download.

    Args:
        folder: in place of `cache_folder()`.
        offline: use nothing but what is there; `$PPDET_OFFLINE` says so, too.

    Raises:
        CheckpointError: the download failed or is not the file; says how to go on without it.
    """
    target = folder or cache_folder()
    try:
        target = file.path(folder)
        if os.path.isfile(target) and not os.access(os.path.dirname(target), os.W_OK):
            _check_present(file, target, writable=False)  # a folder that others take care of
            return target
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(f"{target}.lock", "wb") as lock:
            if not lock_file(lock, wait=False):
                get_logger().info("Another process downloads %s; waiting for it", file.address)
                lock_file(lock)
            if os.path.isfile(target):
                _check_present(file, target)
            elif offline or offline_by_environment():
                by = "offline" if offline else "PPDET_OFFLINE"
                raise _Refused(f"it is not in the cache, and {by} forbids the network")
            else:
                _download(file, target)
    except (OSError, HTTPException, ValueError, _Refused) as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(
            f"cannot download {file.address}: {reason}. Put the file at {target} yourself, or name "
            "a local file"
        ) from None
    return target


def _download(file: RemoteFile, target: str) -> None:
    get_logger().info("Downloading %s to %s", file.address, target)
    start, part, kept = time.monotonic(), f"{target}.part", kept_sha256(target)
    download = _Download(file, part, file.sha256 or kept)
    try:
        download.run()
    except _OtherContent as error:
        how = f"; if it was changed on purpose, delete {target}.sha256" * (not file.sha256)
        raise _Refused(f"{error}{how}") from None
    found = _keep_sha256(target, sha256_of(part), announce=not (file.sha256 or kept))
    os.replace(part, target)
    size, seconds = os.path.getsize(target) / 1e6, time.monotonic() - start
    get_logger().info("%.1f MB in %.0f s, SHA-256 %s", size, seconds, found)


def _check_present(file: RemoteFile, target: str, writable: bool = True) -> None:
    """Raises `_Refused` for a file in the cache that is not the one it was or should be."""
    found, wanted = sha256_of(target), file.sha256 or kept_sha256(target)
    if wanted and found != wanted:
        source = "the published one" if file.sha256 else f"the one kept in {target}.sha256"
        raise _Refused(f"{target} has the SHA-256 {found}, {source} is {wanted}; delete the file")
    if not wanted:  # somebody put it there
        if problem := _problem_of(file, target, os.path.basename(target)):
            raise _Refused(f"{target}: {problem}; delete it")
        if writable:
            _keep_sha256(target, found, announce=True)


def kept_sha256(target: str) -> str:
    """The hash in the file beside `target`; empty where there is none."""
    with suppress(OSError, ValueError), open(f"{target}.sha256", encoding="utf-8") as stream:
        word = (stream.read(200).split() or [""])[0].lower()
        return word if re.fullmatch("[0-9a-f]{64}", word) else ""
    return ""


def _keep_sha256(target: str, found: str, announce: bool) -> str:
    """Writes the hash beside `target`, in the form of sha256sum, and returns it."""
    with replacing(f"{target}.sha256") as stream:
        stream.write(f"{found}  {os.path.basename(target)}\n".encode())
    if announce:
        name = os.path.basename(target)
        text = "No SHA-256 of %s is known: %s is kept, and the file is compared with it from now on"
        get_logger().info(text, name, found)
    return found


def _problem_of(file: RemoteFile, path: str, name: str) -> str:
    """Tells what is wrong with a whole file, apart from its hash; empty if nothing is."""
    with open(path, "rb") as stream:
        begin = stream.read(512).lstrip().lower()
    if not begin or begin.startswith(_HTML):
        return "a page of HTML" if begin else "nothing"
    size = os.path.getsize(path)
    if file.size not in (None, size):
        return f"size: found {size} bytes, allowed: {file.size}"
    try:
        file.check(path, name)
    except CheckpointError as error:
        return f"no weight file: {str(error).replace(f'{path}: ', '')}"
    return ""


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

    def __init__(self, file: RemoteFile, part: str, sha256: str):
        self.file = file
        self.address = urllib.parse.quote(file.address, safe="%/:=&?~+!$,;'@()*[]")
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
        if total is not None and self.file.size not in (None, total):
            raise _Refused(f"size: found {total} bytes, allowed: {self.file.size}")
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
        name = os.path.basename(self.part)[: -len(".part")]
        if self.sha256 and (found := sha256_of(self.part)) != self.sha256:
            raise _OtherContent(f"SHA-256: found {found}, allowed: {self.sha256}")
        if problem := _problem_of(self.file, self.part, name):
            raise _Refused(f"the server answered with {problem}")

    def _remove(self) -> None:
        for path in (self.part, self.mark):
            with suppress(OSError):
                os.remove(path)


def _version_of(headers: HTTPMessage) -> str:
    """What names this very version of a file; empty where the server has no strong mark."""
    mark = headers.get("ETag") or headers.get("Last-Modified") or ""
    return "" if mark.startswith("W/") else mark
