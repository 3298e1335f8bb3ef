"""The settings of a server."""

from dataclasses import dataclass, fields
from typing import Optional

from ppdet_lite.core.errors import UserError

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class ServeSettings:
    """The address, the batches and the limits of a server.

    Attributes:
        host, port: the address; port 0 takes a free one.
        workers: processes, each with the model.
        max_batch: the largest number of images in one run of the network.
        max_wait_ms: the longest time that an image waits for others to share its run.
        decode_threads: threads of a process that decode, resize and draw images.
        max_bytes: of the body of a request.
        max_pixels: width x height of an image, read in its header before it is decoded.
        max_images: of a request.
        max_queue: images of a process that are being received, decoded or detected on; requests
            beyond it are answered with 429.
        max_queue_bytes: of the requests of these images; those beyond it are answered with 429.
        max_seconds: from the first byte of a request to its answer; again for its body.
        token: needed by /predict, /model and /metrics as `Authorization: Bearer TOKEN`.

    Raises:
        UserError: a number out of its range, by name.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    max_batch: int = 8
    max_wait_ms: float = 5.0
    decode_threads: int = 2
    max_bytes: int = 32 * MEBIBYTE
    max_pixels: int = 50_000_000
    max_images: int = 16
    max_queue: int = 256
    max_queue_bytes: int = 1024 * MEBIBYTE
    max_seconds: float = 30.0
    token: Optional[str] = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("host", "token"):
                continue
            least = 0 if field.name in ("port", "max_wait_ms") else 1
            most = {"port": 65535, "workers": 256, "max_wait_ms": 60_000, "max_seconds": 3600}
            limit = most.get(field.name, 1 << 40)
            if not least <= value <= limit:
                allowed = f"{least} to {limit}" if field.name in most else f"{least} or more"
                raise UserError(f"`{field.name}`: found {value}, allowed: {allowed}")
        pairs = (("max_images", "max_queue"), ("max_bytes", "max_queue_bytes"))
        for name, whole in pairs:
            value, most_value = getattr(self, name), getattr(self, whole)
            if value > most_value:
                text = f"found {value}, allowed: at most `{whole}`, {most_value}"
                raise UserError(f"`{name}`: {text}")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise UserError("the token may hold printable ASCII characters only")
        if self.token == "":
            raise UserError("the token is empty")
