"""Fetches weight files named by URL once and keeps them in a cache folder.

A download is written beside its final name and renamed when it is complete; one that was cut off
goes on where it stopped.
"""

import os
import re
import urllib.error
import urllib.request
from http.client import HTTPException

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.utils.logger import get_logger, progress_bar

_BLOCK = 1 << 18
_TIMEOUT_S = 30


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
    """Path of the file behind `url`, downloaded if it is not there yet.

    Raises:
        CheckpointError: the download failed; says how to go on without it.
    """
    name = re.sub(r"[^\w.\-]", "_", url.split("?")[0].rstrip("/").rpartition("/")[2]) or "weights"
    target = os.path.join(folder or cache_folder(), name)
    if os.path.isfile(target):
        return target
    get_logger().info("Downloading %s to %s", url, target)
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _download(url, target + ".part")
        os.replace(target + ".part", target)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(
            f"cannot download {url}: {reason}. Put the file at {target} yourself, name a local "
            f"file, or start a training from random weights with pretrain_weights=null"
        ) from None
    return target


def _download(url: str, part: str) -> None:
    have = os.path.getsize(part) if os.path.isfile(part) else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # the part is longer than the file: start again
            raise
        os.remove(part)
        have = 0
        response = urllib.request.urlopen(url, timeout=_TIMEOUT_S)
    with response:
        if have and response.status != 206:  # the server ignores ranges and sends all of it
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            open(part, "ab" if have else "wb") as stream,
            progress_bar(total, os.path.basename(part), unit="B", initial=have) as bar,
        ):
            while block := response.read(_BLOCK):
                stream.write(block)
                bar.update(len(block))
    if total is not None and os.path.getsize(part) != total:
        raise OSError(
            f"the connection ended after {os.path.getsize(part)} of {total} bytes; "
            f"start again to fetch the rest"
        )
