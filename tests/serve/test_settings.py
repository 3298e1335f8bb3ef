"""Settings, media types and limits, without a server."""

import pytest

from ppdet_lite.core.errors import UserError
from ppdet_lite.serve.settings import ServeSettings


@pytest.mark.parametrize(
    "settings, text",
    [
        ({"port": 70000}, "`port`: found 70000, allowed: 0 to 65535"),
        ({"max_batch": 0}, "`max_batch`: found 0, allowed: 1 or more"),
        ({"max_wait_ms": -1.0}, "`max_wait_ms`: found -1.0, allowed: 0 to"),
        ({"max_seconds": 0.5}, "`max_seconds`: found 0.5"),
        ({"max_seconds": float("nan")}, "`max_seconds`: found nan"),
        ({"max_images": 9, "max_queue": 8}, "`max_images`: found 9, allowed: at most `max_queue`"),
        ({"max_bytes": 9, "max_queue_bytes": 8}, "`max_bytes`: found 9, allowed: at most"),
        ({"token": ""}, "token is empty"),
        ({"token": "a\nb"}, "token may hold"),
    ],
)
def test_settings_out_of_range_are_refused(settings, text):
    with pytest.raises(UserError, match=text):
        ServeSettings(**settings)


@pytest.mark.parametrize(
    "accept, wanted",
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("image/png", "image/png"),
        ("image/*", "image/jpeg"),
        ("IMAGE/WEBP", "image/webp"),
        ("application/json;q=0.5, image/png", "image/png"),
        ("image/jpeg;q=0.3, image/png;q=0.7, application/json;q=0.5", "image/png"),
        ("image/*;q=0.9, image/jpeg;q=0, application/json;q=0.1", "image/png"),
    ],
)
def test_the_type_of_the_answer_follows_accept(accept, wanted):
    pytest.importorskip("pydantic")
    from ppdet_lite.serve.answers import wanted_type

    assert wanted_type(accept) == wanted


@pytest.mark.parametrize("accept", ["text/html", "image/tiff", "application/json;q=0", "*/*;q=0"])
def test_types_that_cannot_be_given_are_refused(accept):
    pytest.importorskip("pydantic")
    from ppdet_lite.serve.answers import wanted_type
    from ppdet_lite.serve.refused import Refused

    with pytest.raises(Refused, match="Accept: found") as error:
        wanted_type(accept)
    assert error.value.status == 406


def test_more_images_than_the_limit_wait_for_a_time_that_is_told():
    from ppdet_lite.serve.admission import Admission
    from ppdet_lite.serve.refused import Refused

    counts = []
    admission = Admission(3, 100, counts.append)
    for _ in range(200):
        admission.note_run(images=2, seconds=4.0)
    with admission.take(2):
        with pytest.raises(
            Refused, match="2 images are waiting and this request has 2, a"
        ) as error:
            admission.take(2).__enter__()
        assert (error.value.status, error.value.headers) == (429, {"Retry-After": "4"})
        with admission.take(1, size=60):
            assert (admission.images, admission.bytes) == (3, 60)
            with pytest.raises(Refused, match="60 bytes are waiting and this request may have 41"):
                admission.take(0, size=41).__enter__()
    assert counts == [2, 3, 2, 0] and admission.bytes == 0


def test_places_are_taken_in_the_order_of_asking():
    """A request of many images is not passed by small ones that come later."""
    import asyncio

    from ppdet_lite.serve.admission import Places

    order = []

    async def ask(places, name, count):
        async with places.take(count):
            order.append(name)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def all_of_them():
        places = Places(4)
        asks = [("a", 3), ("many", 4), ("b", 1), ("c", 4)]
        tasks = [asyncio.ensure_future(ask(places, *one)) for one in asks]
        late = asyncio.ensure_future(ask(places, "gone", 2))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.gather(*tasks)
        async with places.take(4):  # all of them came back
            order.append("end")

    asyncio.run(asyncio.wait_for(all_of_them(), 10))
    assert order == ["a", "many", "b", "c", "end"]


@pytest.mark.parametrize("host, found", [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_server_for_everybody_is_mentioned(tmp_path, capsys, monkeypatch, host, found):
    pytest.importorskip("uvicorn")
    from ppdet_lite.commands.serve import build_parser, main

    monkeypatch.delenv("PPDET_SERVE_TOKEN", raising=False)
    arguments = ["--model_dir", str(tmp_path / "gone")] + (["--host", host] if found else [])
    args = build_parser().parse_args(arguments)
    assert args.host == host
    with pytest.raises(UserError, match="gone: no such folder"):
        main(args)
    assert (f"note: anybody who reaches {host} may" in capsys.readouterr().err) is found
