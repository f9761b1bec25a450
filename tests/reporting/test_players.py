"""The picture and the page of a denoising: what is in them, and when it can be seen."""

import json
import re
from html import unescape
from xml.etree import ElementTree

import pytest

from diffutron.reporting.denoising.players import (
    COLUMNS,
    layout,
    shown_tokens,
    trace_page,
    trace_picture,
)
from diffutron.reporting.denoising.trace import read_trace

SVG = "{http://www.w3.org/2000/svg}"


def make_trace(*steps: list[tuple[int, str | None, float]]) -> dict:
    listed = [
        {
            "step": number,
            "tokens": [{"position": p, "token": t, "confidence": c} for p, t, c in tokens],
        }
        for number, tokens in enumerate(steps)
    ]
    return {"prompt": "Kedi <nerede>?", "answer": "ev & bahçe", "block_length": 4, "steps": listed}


@pytest.fixture
def trace() -> dict:
    return make_trace(
        [(1, " bahçe", 0.4)], [(0, "ev", 0.9)], [(1, None, 0.0)], [(1, " &", 1.0), (2, "\n", 0.5)]
    )


def test_tokens_are_seen_from_their_step_until_they_are_masked_again(trace) -> None:
    seen = [(t.position, t.text, t.first, t.until) for t in shown_tokens(read_trace(trace))]
    assert seen == [(0, "ev", 1, None), (1, " bahçe", 0, 2), (1, " &", 3, None), (2, "⏎", 3, None)]


def test_the_picture_is_self_contained_and_well_formed(trace) -> None:
    picture = trace_picture(trace)
    root = ElementTree.fromstring(picture)
    assert root.tag == f"{SVG}svg"
    assert not re.search(r"script|href|url\(|@import", picture)
    assert root.findtext(f"{SVG}title") == "Kedi <nerede>?: ev & bahçe"
    assert [g.findtext(f"{SVG}text") for g in root.iter(f"{SVG}g")] == ["ev", " bahçe", " &", "⏎"]
    boxes = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "mask"]
    assert len(boxes) == 3  # a position each


def test_each_animation_has_its_keyframes_in_the_order_of_time(trace) -> None:
    picture = trace_picture(trace)
    names = set(re.findall(r"animation:(\w+)", picture))
    assert names == {"s1", "s0u2", "s3"}
    for name in names:
        (frames,) = re.findall(rf"@keyframes {name}{{(.*)}}\n", picture)
        times = [float(time) for time in re.findall(r"([\d.]+)%", frames)]
        assert times == sorted(times)
        assert times[0] == 0
        assert times[-1] < 100


def test_without_animation_the_finished_text_stands_there(trace) -> None:
    root = ElementTree.fromstring(trace_picture(trace))
    at_rest = [
        g.findtext(f"{SVG}text")
        for g in root.iter(f"{SVG}g")
        if not g.get("style", "").endswith("opacity:0")
    ]
    assert at_rest == ["ev", " &", "⏎"]
    assert "prefers-reduced-motion" in trace_picture(trace)


def test_surer_is_greener() -> None:
    picture = trace_picture(make_trace([(0, "a", 0.0), (1, "b", 1.0), (2, "c", 7.0)]))
    assert re.findall(r'fill="(#[0-9a-f]{6})"', picture) == ["#f4b860", "#5cc4b6", "#5cc4b6"]


def test_lines_break_between_words_and_nothing_overlaps() -> None:
    tokens = [(n, " söz" if n % 2 == 0 else "cük", 0.5) for n in range(60)]
    tokens.append((60, " " + "ç" * (COLUMNS + 10), 0.5))
    places, num_lines = layout(shown_tokens(read_trace(make_trace(tokens))))
    assert num_lines == 5  # nine words each, and the long one alone
    for position, (line, column, width) in places.items():
        assert column + width <= COLUMNS or column == 0
        if position + 1 in places:
            after = places[position + 1]
            assert after[:2] == (line, column + width) or after[:2] == (line + 1, 0)
            assert position % 2 == 1 or after[0] == line or position == 59


def test_characters_that_xml_forbids_are_replaced() -> None:
    trace = make_trace([(0, "\x00a\x1b", 0.5)])
    trace |= {"prompt": "bir\n\x07iki", "answer": "\x00a\x1b"}
    root = ElementTree.fromstring(trace_picture(trace))
    assert root.findtext(f"{SVG}title") == "bir \ufffdiki: \ufffda\ufffd"


def test_a_trace_without_tokens_is_a_picture_too() -> None:
    assert trace_picture(make_trace()).startswith("<svg")


def test_the_page_holds_every_event_in_the_block_it_belongs_to(trace) -> None:
    page = trace_page([trace | {"block_length": 2}])
    first, second = page.split('<span class="block">')[1:]
    assert [first.count("data-events"), second.count("data-events")] == [2, 1]
    events = json.loads(unescape(re.findall(r'data-events="(.*?)"', page)[1]))
    assert events == [[0, " bahçe", 0.4], [2, None, 0.0], [3, " &", 1.0]]
    assert "an underlined block is finished" in page
    assert "an underlined block" not in trace_page([trace | {"block_length": None}])


def test_the_page_says_the_answer_and_counts_steps_from_one(trace) -> None:
    page = trace_page([trace])
    assert '<span class="said" lang="tr">ev &amp; bahçe</span>' in page
    assert re.findall(r'title="(.*?)"', page)[0] == "step 2, confidence 0.90"
    assert re.findall(r"<i>(.*?)</i>", page) == ["step 1", "step 2", "step 3", "step 4"]
    assert ('min="-1"' in page, 'max="3"' in page) == (True, True)


def test_a_page_of_no_tokens_and_of_no_traces_is_a_page_too() -> None:
    assert "0 tokens" not in trace_page([])
    assert trace_page([make_trace()]).count('class="card trace"') == 1
