"""The server's page, as a person uses it: chat, infilling, decisions, settings, the key."""

from collections.abc import Iterator
from typing import Any

import pytest
from transformers.decision import DecisionConfig, parse_questions

import diffutron
from tests.serving.conftest import run_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
SETTINGS = {"max_tokens": 12, "num_steps": 6, "block_length": 6, "temperature": 0.8, "seed": 3}
VISIBLE = "el => el.checkVisibility()"


@pytest.fixture(scope="module")
def lm(tiny_model_dir) -> Any:
    return diffutron.load(tiny_model_dir, device="cpu")


@pytest.fixture(scope="module")
def served(lm) -> Iterator[Any]:
    with run_server(lm) as found:
        yield found


@pytest.fixture
def opened(page, served) -> Iterator[Any]:
    """The page, where nothing is asked of others and nothing fails."""
    faults: list[str] = []
    asked: list[str] = []
    listeners = {
        "pageerror": lambda error: faults.append(str(error)),
        "console": lambda message: faults.append(message.text) if message.type == "error" else None,
        "request": lambda request: asked.append(request.url),
    }
    for name, listener in listeners.items():
        page.on(name, listener)
    page.goto(served.url)
    page.wait_for_selector("#model option", state="attached")
    yield page
    for name, listener in listeners.items():
        page.remove_listener(name, listener)
    assert faults == []
    assert [url for url in asked if not url.startswith((served.url, "data:"))] == []


def shown(page: Any, player: str) -> list[str | None]:
    """The tokens that stand at the places of a player; None where one is open."""
    script = "els => els.map(el => el.classList.contains('open') ? null : el.title)"
    titles = page.eval_on_selector_all(f"{player} .slot", script)
    return [None if title is None else title.rpartition(" ")[0] for title in titles]


def replayed(trace: dict[str, Any], *, steps: int, size: int) -> list[str | None]:
    found: list[str | None] = [None] * size
    for step in trace["steps"][:steps]:
        for token in step["tokens"]:
            found[token["position"]] = token["token"]
    return found


def test_a_chat_with_settings_is_that_of_generate_and_plays_its_steps(opened, lm) -> None:
    for name, value in SETTINGS.items():
        opened.locator(f"#{name}").fill(str(value))
    opened.get_by_label("Write a question").fill("Kedi nerede?")
    opened.keyboard.press("Enter")
    opened.wait_for_selector("#log .controls:not([hidden])")
    given = {**SETTINGS, "max_new_tokens": SETTINGS["max_tokens"]}
    del given["max_tokens"]
    (alone,) = diffutron.generate(lm, ["Kedi nerede?"], **given)
    assert opened.locator("#log .answer").text_content() == (alone.text or "(empty answer)")
    trace = alone.trace.as_dict()
    slider = opened.get_by_label("Step", exact=True)
    slider.focus()
    for steps in range(len(trace["steps"]) - 1, -1, -1):
        opened.keyboard.press("ArrowLeft")
        assert shown(opened, "#log") == replayed(trace, steps=steps, size=12)
    assert opened.locator("#log .slots").evaluate(VISIBLE)
    opened.get_by_role("button", name="Play").click()
    opened.locator("#log .answer").wait_for()  # the end is the text again


def test_clicked_words_are_filled(opened, lm) -> None:
    opened.get_by_role("tab", name="Chat").focus()
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#infill").evaluate(VISIBLE)
    assert not opened.locator("#num_steps").evaluate(VISIBLE)  # of no use to a gap
    opened.get_by_label("Text", exact=True).fill("Kedi bahçede uyuyor.")
    opened.get_by_role("button", name="bahçede").click()
    opened.get_by_role("button", name="Fill", exact=True).click()
    opened.wait_for_selector("#filled .controls:not([hidden])")
    (alone,) = diffutron.infill(lm, ["Kedi [MASK][MASK] uyuyor."])
    assert opened.locator("#filled .answer").text_content() == alone.text
    opened.get_by_role("button", name="Kedi").click()
    opened.get_by_role("button", name="uyuyor").click()
    for count in (1, 2):  # all three words are one gap, two apart are two
        opened.get_by_role("button", name="Fill", exact=True).click()
        opened.locator("#filled .controls:not([hidden])").wait_for()
        assert opened.locator("#filled mark").count() == count
        opened.get_by_role("button", name="bahçede").click()
    opened.get_by_role("button", name="bahçede").click()
    opened.get_by_role("button", name="Copy as Python").click()
    code = opened.locator("#code").text_content()
    compile(code, "copied", "exec")
    assert 'suffix=" bahçede"' in code


def test_a_decision_is_asked_in_the_form_of_transformers(opened) -> None:
    found: list[Any] = []

    def answer(route: Any) -> None:
        body = route.request.post_data_json
        (question,) = parse_questions(body["questions"], DecisionConfig())
        found.append((body["model"], body["state"], question.instructions, question.options))
        route.fulfill(json={"answers": {question.name: question.answer([0.25, 0.75])}})

    opened.route(
        "**/openapi.json", lambda route: route.fulfill(json={"paths": {"/v1/systemone": {}}})
    )
    opened.route("**/v1/systemone", answer)
    try:
        opened.reload()
        opened.get_by_role("tab", name="Decide").click()
        opened.get_by_label("Question", exact=True).fill("Hava nasıl?")
        opened.get_by_label("Options").fill("sıcak\nsoğuk\nsıcak\n")
        opened.get_by_role("button", name="Ask", exact=True).click()
        bars = opened.locator("#decided li")
        bars.first.wait_for()
        assert bars.all_inner_texts() == ["soğuk\n75%", "sıcak\n25%"]
    finally:
        opened.unroute_all()
    (asked,) = found
    assert asked[0] == "tiny"
    assert asked[2:] == ("Hava nasıl?", ["sıcak", "soğuk"])


def test_every_control_has_a_name_in_both_languages(opened) -> None:
    words = opened.evaluate("Object.values(TEXTS).map(one => Object.keys(one).sort())")
    assert words[0] == words[1]
    for language in ("tr", "en"):
        opened.locator("#language").click()
        assert opened.evaluate("document.documentElement.lang") == language
        unnamed = opened.eval_on_selector_all(
            "button, input, select, textarea",
            "els => els.filter(el => !el.textContent.trim() && !el.ariaLabel"
            " && ![...(el.labels ?? [])].some(one => one.textContent.trim())).map(el => el.id)",
        )
        assert [name for name in unnamed if name] == []


def test_the_key_is_asked_for_and_kept_in_memory_alone(page, lm) -> None:
    with run_server(lm, key="geheim") as one:
        page.goto(one.url)
        # Cookies know no ports: the browser may hold those of other servers of this machine.
        before = page.evaluate("document.cookie")
        field = page.get_by_label("The server's key")
        field.fill("wrong")
        page.get_by_role("button", name="Use it").click()
        page.get_by_text("need the key of this server").wait_for()
        field.fill("geheim")
        page.get_by_role("button", name="Use it").click()
        page.wait_for_selector("#model option", state="attached")
        field.wait_for(state="hidden")
        page.get_by_label("Write a question").fill("Kedi nerede?")
        page.get_by_role("button", name="Send").click()
        page.wait_for_selector("#log .controls:not([hidden])")
        kept = page.evaluate("[{...localStorage}, {...sessionStorage}, document.cookie]")
        assert kept == [{}, {}, before]
        page.get_by_role("button", name="Copy as curl").click()
        assert "geheim" not in page.locator("#code").text_content()
