"""The page of a server in a headless browser."""

import pytest

from tests.serve.browser import Browser

SHOWN = """[...document.querySelectorAll('#boxes g')].map(
    group => [group.dataset.class, Number(group.dataset.score)])"""


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


def rows(found, threshold, without=()):
    """Class and score of the detections that the page has to show, worst first."""
    kept = [one for one in found if one["score"] >= threshold]
    return sorted(
        (one["class_name"], round(one["score"], 2))
        for one in kept
        if one["class_name"] not in without
    )


def shown(browser):
    return sorted((name, round(score, 2)) for name, score in browser.run(SHOWN))


def test_an_image_is_dropped_and_the_boxes_follow_slider_and_classes(
    browser, client, tiny_coco, tmp_path
):
    path = tiny_coco / "images" / "train_0.jpg"
    browser.open(f"http://127.0.0.1:{client.port}/")
    browser.wait_for("document.querySelector('#state')?.textContent === 'ready'")
    assert browser.run("document.querySelector('#view').hidden") is True
    browser.drop("#drop", path)
    browser.wait_for("document.querySelectorAll('#boxes g').length")
    found = client.predict(path.read_bytes(), "?threshold=0.01").content["images"][0]["detections"]
    start = browser.run("Number(document.querySelector('#threshold').value)")
    assert start == client("GET", "/model").content["threshold"]
    assert shown(browser) == rows(found, start)
    assert browser.run("document.querySelectorAll('#boxes > .box').length") == len(shown(browser))
    assert browser.run("document.querySelector('#boxes').getAttribute('viewBox')") == "0 0 128 96"
    assert float(browser.run("document.querySelector('#total').textContent").split()[0]) > 0
    before = tmp_path / "before.png"
    browser.screenshot(before)

    x, y = browser.middle("#threshold")  # the middle of its range
    width = browser.run("document.querySelector('#threshold').clientWidth")
    browser.click(x + 0.47 * width, y)
    moved = browser.run("Number(document.querySelector('#threshold').value)")
    assert moved > 0.9
    assert shown(browser) == rows(found, moved) != rows(found, start)
    assert f"{len(rows(found, moved))} of {len(found)} " in browser.run(
        "document.querySelector('#shown').textContent"
    )
    browser.screenshot(tmp_path / "after.png")
    assert before.read_bytes() != (tmp_path / "after.png").read_bytes()

    browser.click(*browser.middle(".chip"))
    off = browser.run(
        "document.querySelector('.chip[aria-pressed=false]').firstChild.nextSibling.data"
    )
    assert shown(browser) == rows(found, moved, [off]) != rows(found, moved)
    assert browser.complaints == []


def test_a_file_that_is_no_image_is_refused_in_words(browser, client, tmp_path):
    (tmp_path / "notes.jpg").write_text("no image")
    browser.open(f"http://127.0.0.1:{client.port}/")
    browser.wait_for("document.querySelector('#state')?.textContent === 'ready'")
    browser.drop("#drop", tmp_path / "notes.jpg")
    text = browser.wait_for("document.querySelector('#error').textContent")
    assert text.startswith("notes.jpg: not an image")


def test_the_documentation_lists_all_of_the_interface(browser, client):
    browser.open(f"http://127.0.0.1:{client.port}/docs")
    browser.wait_for("document.querySelectorAll('#schemas details').length")
    listed = browser.run(
        "[...document.querySelectorAll('#paths summary code')].map(c => c.textContent)"
    )
    assert listed == list(client("GET", "/openapi.json").content["paths"])
    loaded = browser.run("performance.getEntriesByType('resource').map(one => one.name)")
    assert loaded and all(f"//127.0.0.1:{client.port}/" in one for one in loaded), loaded
