"""The routes of the server."""

import asyncio
import contextlib
import hmac
import time
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from ppdet_lite import __version__
from ppdet_lite.core.errors import ImageError
from ppdet_lite.serve.answers import (
    DRAWN,
    JSON,
    Answer,
    ModelInfo,
    Problem,
    describe,
    describe_model,
    drawn,
    wanted_type,
)
from ppdet_lite.serve.bodies import RequestBody
from ppdet_lite.serve.head import HeadAsGet
from ppdet_lite.serve.observed import Observed
from ppdet_lite.serve.refused import Refused
from ppdet_lite.serve.service import Service
from ppdet_lite.serve.settings import ServeSettings

STATIC = Path(__file__).resolve().parent / "static"

DESCRIPTION = """Objects on images, found by an exported model.

Send an image file as the body, or several as the files of a form:

    curl -H "Content-Type: image/jpeg" --data-binary @street.jpg http://127.0.0.1:8000/predict
    curl -F "a=@one.jpg" -F "b=@two.png" http://127.0.0.1:8000/predict
    curl -H "Accept: image/jpeg" --data-binary @street.jpg http://127.0.0.1:8000/predict > drawn.jpg

Every error is JSON, `{"error": "the reason", "status": 422}`.
"""

_IMAGE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "additionalProperties": {"type": "string", "format": "binary"},
        "description": "one or more image files; the names of the fields do not matter",
    }
}
REQUEST_BODY = {
    "required": True,
    "content": {
        "image/*": _IMAGE,
        "application/octet-stream": _IMAGE,
        "multipart/form-data": _FORM,
    },
}
REASONS = {
    400: "an empty or broken body",
    401: "the bearer token is missing or wrong",
    406: "an answer of that type cannot be given",
    408: "the body did not arrive in time",
    413: "too many bytes or images",
    415: "a compressed body",
    422: "not an image, a damaged one, too many pixels, or a wrong or unknown parameter",
    429: "too many images are waiting; Retry-After tells when to try again",
    503: "the model is being loaded, the network cannot be run, or the server stops",
    504: "no result in time",
}
_PROBLEMS: dict[Any, dict[str, Any]] = {
    status: {"model": Problem, "description": text} for status, text in REASONS.items()
}
_ANSWERS: dict[Any, dict[str, Any]] = {
    200: {
        "description": "detections; for one image also the image with its boxes, by `Accept`",
        "content": dict.fromkeys(DRAWN, _IMAGE),
    },
    **_PROBLEMS,
}
PARAMETERS = {"threshold"}
"""Of /predict, behind the `?`."""

Result = TypeVar("Result")


def create_app(service: Service) -> Any:
    """The ASGI application of a service."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        service.start()
        if service.settings.workers > 1:  # others answer until this process can
            await loop.run_in_executor(None, service.wait)
        yield
        await loop.run_in_executor(None, service.close)

    app = FastAPI(
        title="ppdet serve",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts of other sites; ours is in static/
        redoc_url=None,
    )
    add_problems(app, service.settings)
    add_predict(app, service)
    add_probes(app, service)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for path, page in (("/", "index.html"), ("/docs", "docs.html")):
        app.add_api_route(path, _page(STATIC / page), include_in_schema=False)
    return Observed(HeadAsGet(app), service.metrics)


def _page(path: Path) -> Any:
    async def page() -> FileResponse:
        return FileResponse(path)

    return page


def add_problems(app: FastAPI, settings: ServeSettings) -> None:
    """Makes every error JSON with a reason."""

    def problem(status: int, reason: str, headers: Any = None) -> JSONResponse:
        return JSONResponse({"error": reason, "status": status}, status, headers)

    async def refused(_: Request, error: Any) -> JSONResponse:
        return problem(error.status, error.reason, error.headers)

    async def http(_: Request, error: Any) -> JSONResponse:
        return problem(error.status_code, str(error.detail), error.headers)

    async def invalid(request: Request, error: Any) -> JSONResponse:
        await RequestBody(request, settings).drain()
        found = [f"{one['loc'][-1]}: {one['msg'].lower()}" for one in error.errors()]
        return problem(422, "; ".join(found))

    async def defect(_: Request, error: Any) -> JSONResponse:
        return problem(500, f"{type(error).__name__}; the log of the server tells more")

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, defect)


def add_probes(app: FastAPI, service: Service) -> None:
    """The state of the server: /health, /ready, /metrics, /model."""

    @app.get("/health", responses={503: _PROBLEMS[503]}, tags=["state"])
    async def health() -> dict[str, str]:
        """200 while the process works; anything else means that it has to be started again."""
        if not service.is_healthy:
            raise Refused(503, f"the server cannot work any more: {service.error}")
        return {"status": "ok"}

    @app.get("/ready", responses={503: _PROBLEMS[503]}, tags=["state"])
    async def ready() -> dict[str, str]:
        """200 once the model is loaded and images may be sent."""
        return {"status": "ready", "device": service.detector.engine.device}

    @app.get("/metrics", tags=["state"], response_class=Response)
    async def metrics(request: Request) -> Response:
        """Figures for Prometheus."""
        check_token(request, service.settings)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/model", responses={503: _PROBLEMS[503], 401: _PROBLEMS[401]}, tags=["state"])
    async def model(request: Request) -> ModelInfo:
        """The model, its classes, and the limits of a request."""
        check_token(request, service.settings)
        return describe_model(service.detector, service.settings)


def add_predict(app: FastAPI, service: Service) -> None:
    """The detections: /predict."""
    text = "lowest score of the answer; default: that of the model"
    score = Query(default=None, ge=0, le=1, allow_inf_nan=False, description=text)

    @app.post(
        "/predict",
        response_model=Answer,
        responses=_ANSWERS,
        openapi_extra={"requestBody": REQUEST_BODY},
        tags=["detection"],
    )
    async def predict(request: Request, threshold: float = score) -> Response:
        """Objects on one or many images, as JSON, or one image with its boxes drawn."""
        start = time.perf_counter()
        body = RequestBody(request, service.settings)
        try:
            check_token(request, service.settings)
            check_parameters(request)
            detector = service.detector
            media_type = wanted_type(request.headers.get("accept", ""))
            with service.admission.take(1, body.size):  # before the body, which takes memory
                sent = await body.images()
                if media_type != JSON and len(sent) > 1:
                    text = f"{len(sent)} images, allowed with Accept {media_type}: 1"
                    raise Refused(406, text)
                with service.admission.take(len(sent) - 1, taken=1):
                    found = await until_gone(request, service.detect(sent))
        except Refused:
            await body.drain()
            raise
        lowest = detector.threshold if threshold is None else threshold
        seconds = time.perf_counter() - start
        service.metrics.seconds.observe(seconds)
        answer = describe(detector, found, lowest, seconds)
        times = ", ".join(f"{name};dur={value}" for name, value in answer.times_ms)
        headers = {"Server-Timing": times}
        if media_type == JSON:
            return Response(answer.model_dump_json(), media_type=JSON, headers=headers)
        try:
            arguments = (sent[0].content, found[0].rows, lowest, media_type)
            content = await service.in_pool(drawn, detector, *arguments)
        except ImageError as error:
            raise Refused(406, f"{media_type} cannot hold the image: {error}") from None
        return Response(content, media_type=media_type, headers=headers)


async def until_gone(request: Request, work: Awaitable[Result]) -> Result:
    """The result of `work`, which is canceled if the client closes the connection first."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refused(499, "the connection was closed before the answer")
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()


async def _wait_until_gone(request: Request) -> None:
    """Ends when the connection is closed; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def check_parameters(request: Request) -> None:
    """Refuses, with 422, names behind the `?` that mean nothing, such as misspelled ones."""
    if unknown := sorted(request.query_params.keys() - PARAMETERS):
        names = ", ".join(name[:40] for name in unknown[:4])
        raise Refused(422, f"{names}: unknown, allowed: {', '.join(PARAMETERS)}")


def check_token(request: Request, settings: ServeSettings) -> None:
    """Refuses, with 401, a request without the token that the server was given."""
    if settings.token is None:
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    is_right = hmac.compare_digest(token.strip().encode(), settings.token.encode())
    if scheme.lower() != "bearer" or not is_right:
        text = "the bearer token is missing or wrong"
        raise Refused(401, text, {"WWW-Authenticate": "Bearer"})
