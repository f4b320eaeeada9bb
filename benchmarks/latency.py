"""How long answers take, beside a peer in the same run where one exists.

    python benchmarks/latency.py [--only NAME...] [--json]

Names: count, skeleton, memory, shapes, time, resident, slider, start, cli.
Nothing here is a test: times depend on the machine, ratios less so. The browser parts need Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
LLAMA_8B = "meta-llama/Meta-Llama-3-8B"
LLAMA_405B = "meta-llama/Llama-3.1-405B"
DEEPSEEK_V3 = "deepseek-ai/DeepSeek-V3"
MOVES = 40
STARTS = 5
MODELS = 60
STEP: dict[str, Any] = {
    "adapter": "lora",
    "lora_r": 32,
    "lora_alpha": 16,
    "lora_target_linear": True,
    "micro_batch_size": 2,
    "sequence_len": 2048,
    "gradient_checkpointing": True,
    "learning_rate": 0.0002,
}
CARD = "RTX 4090"
CHANGES: dict[str, Sequence[int]] = {
    "lora_r": range(41, 61),
    "micro_batch_size": range(3, 23),
    "sequence_len": range(2304, 7424, 256),
}

ONE_SLIDER_ONE_NUMBER = """
import os
import gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    slider = gr.Slider(1, 256, value=32, step=1, elem_id="slider")
    number = gr.Number(elem_id="number")
    slider.input(lambda value: value * 2621440, slider, number)
page.launch(server_port=int(os.environ["GRADIO_SERVER_PORT"]), quiet=True)
"""
EMPTY_APP = """
import os
import gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    pass
page.launch(server_port=int(os.environ["GRADIO_SERVER_PORT"]), quiet=True)
"""
# Without the Hub accelerate's first question fails; it is answered here, everything after it is accelerate's own.
ACCELERATE = """
import sys
from types import SimpleNamespace
from accelerate.commands import estimate
estimate.verify_on_hub = lambda repo, token=None: SimpleNamespace(config={}, library_name="transformers")
options = estimate.estimate_command_parser().parse_args([sys.argv[1], "--library_name", "transformers"])
estimate.estimate_command(options)
"""
MANY_MODELS = """
import sys
from lora_explorer.base_models import base_model_from_config
from lora_explorer.base_models.preset import preset_models
from lora_explorer.errors import ExplorerError
from lora_explorer.memory import estimate_memory
from lora_explorer.settings import recipe_from
settings = {"adapter": "lora", "lora_r": 16, "lora_alpha": 16, "lora_target_linear": True, "learning_rate": 0.0002}
done = 0
for preset in preset_models():
    recipe = recipe_from({**settings, "base_model": preset.id})
    try:
        estimate_memory(recipe, base_model_from_config(preset.config_json, preset.id))
    except ExplorerError:
        continue
    done += 1
    if done == int(sys.argv[1]):
        break
else:
    raise SystemExit("There are fewer presets than that.")
with open("/proc/self/statm") as pages:
    print(int(pages.read().split()[1]) * 4096)
"""
# Sets the slider as a hand does and watches the number until it is another one.
MOVE = """async ([slider, value, output]) => {
  const read = () => document.querySelector(`${output} input`)?.value ?? document.querySelector(output).textContent;
  const before = read();
  const range = document.querySelector(`${slider} input[type=range]`);
  const start = performance.now();
  range.value = value;
  range.dispatchEvent(new Event("input", { bubbles: true }));
  while (read() === before && performance.now() - start < 10000)
    await new Promise((done) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = done;
      port2.postMessage(0);
    });
  return performance.now() - start;
}"""


@dataclass(frozen=True)
class Row:
    """One measured figure. peer, ratio: the same of a peer in this run, and ours over it; None where there is none."""

    name: str
    what: str
    figure: float
    unit: str
    wanted: str
    peer: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.figure / self.peer if self.peer else None


def count_rows() -> Iterator[Row]:
    """A slider move answered in the server: settings read, planned, counted and put into words; skeleton cached."""
    from lora_explorer.base_models import Access
    from lora_explorer.ui.answers import Answers
    from lora_explorer.ui.page import start_draft

    answers = Answers(Access(hub=False, folders=False))
    for base_model, wanted in ((LLAMA_8B, "≤ 10 ms"), (LLAMA_405B, "≤ 40 ms"), (DEEPSEEK_V3, "≤ 40 ms")):
        touched = {"base_model": base_model}
        drafts = [replace(start_draft(), touched=touched | {"lora_r": rank}).for_page() for rank in range(1, 201)]
        answers.count(drafts[-1])
        times = [_milliseconds(partial(answers.count, draft)) for draft in drafts[:-1]]
        yield Row("count", f"count after a slider move, {base_model}, p95", quantiles(times, n=20)[-1], "ms", wanted)


def skeleton_rows() -> Iterator[Row]:
    """An architecture never seen before: a preset with another vocabulary each time."""
    from lora_explorer.base_models import base_model_from_config, find_preset
    from lora_explorer.base_models.skeleton import load_skeleton

    for base_model, wanted in ((LLAMA_8B, "≤ 500 ms"), (LLAMA_405B, "≤ 2,000 ms")):
        preset = find_preset(base_model)
        assert preset is not None
        config = json.loads(preset.config_json)
        models = [
            base_model_from_config(json.dumps(config | {"vocab_size": config["vocab_size"] + extra}))
            for extra in range(6)
        ]
        times = [_milliseconds(partial(load_skeleton, model)) for model in models]
        # The first one also imports the model's code.
        yield Row("skeleton", f"skeleton of a new architecture, {base_model}, median", median(times[1:]), "ms", wanted)


def memory_rows() -> Iterator[Row]:
    """The memory figure after a slider move."""
    from lora_explorer.base_models import Access
    from lora_explorer.ui.answers import Answers
    from lora_explorer.ui.page import start_draft

    answers = Answers(Access(hub=False, folders=False))
    drafts = [replace(start_draft(), touched={"lora_r": rank}).for_page() for rank in range(8, 25)]
    answers.memory(drafts[0])
    times = [_milliseconds(partial(answers.memory, draft)) for draft in drafts[1:]]
    yield Row("memory", "memory figure after a slider move, 8B, median", median(times), "ms", "≤ 500 ms")


def time_rows() -> Iterator[Row]:
    """How long a step takes, asked after its memory as the page does: for a new shape, and for one changed a little."""
    from lora_explorer.base_models import find_base_model
    from lora_explorer.memory import estimate_memory, find_card
    from lora_explorer.settings import recipe_from
    from lora_explorer.speed import estimate_speed

    card, model = find_card(CARD), find_base_model(LLAMA_8B)

    def milliseconds(settings: Mapping[str, int]) -> float:
        recipe = recipe_from({**STEP, "base_model": LLAMA_8B, **settings})
        estimate_memory(recipe, model, card=card, every_card=False)
        return _milliseconds(lambda: estimate_speed(recipe, model, card=card))

    for settings in ({}, {"lora_r": 24}, {"lora_r": 40}):
        milliseconds(settings)
    new = [milliseconds({"sequence_len": 2048 + more}) for more in range(1, 13)]
    yield from _spread(new, f"time of a step, new shape, {LLAMA_8B}", "≤ 30 ms", "time")
    for setting, values in CHANGES.items():
        changed = [milliseconds({setting: value}) for value in values]
        yield from _spread(changed, f"time of a step, changed {setting}, {LLAMA_8B}", "≤ 30 ms", "time")


def shape_rows() -> Iterator[Row]:
    """The memory figure in a process that has answered before: a shape never asked for, and one changed a little.

    As the page asks while a slider moves: with the verdict of the chosen card. Those of all cards follow.
    """
    from lora_explorer.base_models import BaseModel, find_base_model
    from lora_explorer.memory import estimate_memory, find_card
    from lora_explorer.settings import recipe_from

    card = find_card(CARD)

    def milliseconds(model: BaseModel, settings: Mapping[str, int], *, every_card: bool = False) -> float:
        recipe = recipe_from({**STEP, "base_model": model.label, **settings})
        return _milliseconds(lambda: estimate_memory(recipe, model, card=card, every_card=every_card))

    for name, new_wanted in ((LLAMA_8B, "≤ 400 ms"), (LLAMA_405B, "≤ 1,200 ms"), (DEEPSEEK_V3, "≤ 1,200 ms")):
        model = find_base_model(name)
        for settings in ({}, {"lora_r": 24}, {"lora_r": 40}):
            milliseconds(model, settings)
        # Lengths that leave another remainder of the kernels' tiles have nothing in common with those before.
        yield from _spread(
            [milliseconds(model, {"sequence_len": 2048 + more}) for more in range(1, 13)],
            f"new shape, {name}",
            new_wanted,
        )
        for setting, values in CHANGES.items():
            times = [milliseconds(model, {setting: value}) for value in values]
            yield from _spread(times, f"changed {setting}, {name}", "≤ 30 ms")
        times = [milliseconds(model, {"lora_r": rank}, every_card=True) for rank in CHANGES["lora_r"]]
        yield from _spread(times[2:], f"verdicts of all cards after a changed rank, {name}", "–")
    model = find_base_model(LLAMA_8B)
    recipe = recipe_from({**STEP, "base_model": LLAMA_8B})
    deep = _milliseconds(lambda: estimate_memory(recipe, model, full_depth=True))
    yield Row("shapes", f"every layer traced, {LLAMA_8B}", deep, "ms", "≤ 4,000 ms")


def _spread(times: Sequence[float], what: str, wanted: str, part: str = "shapes") -> Iterator[Row]:
    yield Row(part, f"{what}, median of {len(times)}", median(times), "ms", wanted)
    yield Row(part, f"{what}, p95", quantiles(times, n=20)[-1], "ms", wanted)


def resident_rows() -> Iterator[Row]:
    """What a process keeps after many models."""
    answer = subprocess.run(
        [sys.executable, "-c", MANY_MODELS, str(MODELS)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    yield Row(
        "resident", f"resident after estimates of {MODELS} models", float(answer.stdout) / 2**20, "MiB", "≤ 2,048 MiB"
    )


def slider_rows() -> Iterator[Row]:
    """From a moved slider to another number on the screen, in turns with a Gradio app of one slider and one number."""
    with chromium() as browser, serving("app.py") as ours, serving("-c", ONE_SLIDER_ONE_NUMBER) as peers:
        times: dict[str, list[float]] = {ours: [], peers: []}
        for turn in range(2):
            times[peers] += _moves(browser, peers, ("#slider", "#number"), "#number", turn)
            times[ours] += _moves(browser, ours, ("#lora_r", "#trainable-params"), "#peak-memory[data-value]", turn)
    what = f"slider to changed number in Chromium, median of {len(times[ours])}"
    yield Row("slider", what, median(times[ours]), "ms", "≤ 1.7 × peer", median(times[peers]))


def _moves(browser: Browser, address: str, ids: tuple[str, str], ready: str, turn: int) -> list[float]:
    slider, output = ids
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector(ready, timeout=120_000)
    page.wait_for_timeout(2000)
    times = []
    for move in range(MOVES // 2):
        times.append(float(page.evaluate(MOVE, [slider, str(10 + turn * MOVES + move), output])))
        page.wait_for_timeout(400)
    page.close()
    return times


def start_rows() -> Iterator[Row]:
    """From the process's start to the first page in Chromium, and to its HTML alone, in turns with an empty app."""
    with chromium() as browser:
        for what, seen in (("first page in Chromium", _seen_in(browser)), ("first page sent", None)):
            ours, peers = [], []
            for _ in range(STARTS):
                peers.append(_start_milliseconds(seen, "-c", EMPTY_APP))
                ours.append(_start_milliseconds(seen, "app.py"))
            what = f"process start to {what}, median of {STARTS}"
            yield Row("start", what, median(ours), "ms", "≤ 1.4 × peer", median(peers))


def _start_milliseconds(seen: Callable[[str], None] | None, *command: str) -> float:
    start = time.perf_counter()
    with serving(*command) as address:
        if seen:
            seen(address)
        return 1000 * (time.perf_counter() - start)


def _seen_in(browser: Browser) -> Callable[[str], None]:
    def seen(address: str) -> None:
        page = browser.new_page()
        page.goto(address)
        # Gradio's footer is drawn with the page, by the empty app too.
        page.wait_for_selector("footer", timeout=120_000)
        page.close()

    return seen


def cli_rows() -> Iterator[Row]:
    """A count from the command line, whole process, beside accelerate's estimate of the same model."""
    from lora_explorer.base_models import find_preset

    preset = find_preset(LLAMA_8B)
    assert preset is not None
    recipe = ROOT / "presets" / "recipes" / "llama-3-8b-lora.yml"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(preset.config_json, encoding="utf-8")
        ours = [_process_milliseconds("-m", "lora_explorer.cli", "count", str(recipe), "--json") for _ in range(3)]
        peers = [_process_milliseconds("-c", ACCELERATE, folder) for _ in range(3)]
    what = "count on the command line, 8B, whole process (peer: accelerate estimate-memory)"
    yield Row("cli", what, median(ours), "ms", "beside the peer", median(peers))


def _process_milliseconds(*command: str) -> float:
    return _milliseconds(lambda: subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True))


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """Run a Gradio app in a process of its own until the block ends; yields its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != "SPACE_ID"}
    environment |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield _when_up(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _when_up(address: str, process: subprocess.Popen[bytes]) -> str:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(address) as page:
                page.read()
                return address
        except URLError:
            time.sleep(0.01)
    raise SystemExit("A server ended before it answered.")


@contextmanager
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("This part needs Chromium: install Debian's package with `apt-get install chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "shapes": shape_rows,
    "time": time_rows,
    "resident": resident_rows,
    "start": start_rows,
    "slider": slider_rows,
    "cli": cli_rows,
    "skeleton": skeleton_rows,
    "count": count_rows,
    "memory": memory_rows,
}


def as_table(rows: Sequence[Row]) -> str:
    """Plain text, one figure a line."""
    cells = [("what", "figure", "peer", "ratio", "wanted"), *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _cells(row: Row) -> tuple[str, ...]:
    peer = f"{row.peer:,.1f} {row.unit}" if row.peer else "–"
    ratio = f"{row.ratio:.2f}" if row.ratio else "–"
    return row.what, f"{row.figure:,.1f} {row.unit}", peer, ratio, row.wanted


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON list on stdout")
    options: Any = parser.parse_args(arguments)
    rows = [row for name in options.only for row in PARTS[name]()]
    if options.json:
        print(json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=2))
    else:
        print(as_table(rows))


if __name__ == "__main__":
    main()
