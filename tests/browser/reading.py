"""Reading the page as a visitor does."""

from __future__ import annotations

from playwright.sync_api import Page, expect

TABS = ("Explore", "Presets", "Fit", "Compare", "Preview", "YAML", "History")
WAITED_FOR = ".weighing, [data-stale], .pending, .asking, .old, .now-old"
"""What is faint until its answer has come."""


def trainable_params(page: Page) -> int:
    return int(page.get_attribute("#trainable-params", "data-value") or -1)


def expect_trainable_params(page: Page, count: int) -> None:
    expect(page.locator("#trainable-params")).to_have_attribute("data-value", str(count), timeout=20_000)


def widget(page: Page, key: str) -> str:
    """A selector for the widget of a setting."""
    return f'[id="{key}"]'


def sentence(page: Page, key: str) -> str:
    """What is said at a setting; empty where nothing is."""
    found = page.locator(f"{widget(page, key)} > .sentence")
    return found.inner_text() if found.count() else ""


def open_tab(page: Page, name: str) -> None:
    tab = page.get_by_role("tab", name=name)
    if tab.count():
        tab.click()
        return
    # On a phone those that find no room stand in a menu.
    page.locator("#tabs .overflow-menu > button").click()
    page.locator("#tabs .overflow-dropdown button", has_text=name).click()


def yaml_text(page: Page) -> str:
    """The text of the editor, whose lines are drawn only where they are in view."""
    page.wait_for_selector("#yaml .cm-content")
    return str(page.evaluate("document.querySelector('#yaml .cm-content').cmTile.view.state.doc.toString()"))


def type_yaml(page: Page, text: str) -> None:
    """Replace the whole text, as a visitor who pastes does."""
    open_tab(page, "YAML")
    page.locator("#yaml .cm-content").click()
    page.keyboard.press("Control+A")
    page.evaluate(
        """(text) => {
          const data = new DataTransfer();
          data.setData("text/plain", text);
          document.querySelector("#yaml .cm-content")
            .dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
        }""",
        text,
    )
