"""The command line keeps its contract: results on stdout, the rest on stderr, and a status that says whose fault."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lora_explorer import presets
from lora_explorer.cli import app
from lora_explorer.errors import MeasurementFailed
from lora_explorer.memory import measurement
from lora_explorer.memory.measurement import Measurement
from lora_explorer.memory.measurement.figures import Figures

FINE = """\
base_model: openai-community/gpt2 # small
adapter: lora
lora_r: 8
lora_alpha: 16
lora_target_modules: [c_attn]
learning_rate: 0.0002
sequence_len: 128
attn_implementation: sdpa
datasets: [{path: tatsu-lab/alpaca, type: alpaca}]
my_key: 1
"""
TINY_CONFIG = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 32, "vocab_size": 100, "n_positions": 64}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "run.yml"
    file.write_text(FINE, encoding="utf-8")
    return file


def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def answer(*arguments: object, stdin: str | None = None) -> Any:
    """The one JSON value on stdout."""
    result = run(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def test_count_prints_the_exact_count(config: Path):
    record = answer("count", config)
    assert record["trainable_params"] == 12 * 8 * (768 + 2304)
    assert record["all_params"] == 124_439_808 + record["trainable_params"]
    assert sum(module["trainable_params"] for module in record["modules"]) == record["trainable_params"]
    assert record["coverage"][0]["matched"] == 12


def test_count_reads_stdin(config: Path):
    assert answer("count", "-", stdin=FINE) == answer("count", config)


def test_count_shows_a_table_to_people(config: Path):
    result = run("count", config)
    assert result.exit_code == 0
    assert "294,912" in result.stdout
    assert "c_attn" in result.stdout


def test_count_takes_a_model_config_in_place_of_the_base_model(config: Path, tmp_path: Path):
    model_config = tmp_path / "config.json"
    model_config.write_text(json.dumps(TINY_CONFIG), encoding="utf-8")
    record = answer("count", config, "--model-config", model_config)
    assert record["trainable_params"] == 2 * 8 * (32 + 96)


def test_a_warning_goes_to_stderr_and_not_between_the_json(config: Path):
    result = run("count", config, "--json")
    assert json.loads(result.stdout)
    assert result.stderr.startswith("warning (my_key): Axolotl does not know my_key")


def test_estimate_prints_parts_that_add_up_to_the_peak(config: Path):
    record = answer("estimate", config)
    assert sum(record["parts"].values()) == record["peak_allocated_bytes"]
    assert record["peak_reserved_bytes"] >= record["peak_allocated_bytes"]
    assert record["process_bytes"] > record["peak_reserved_bytes"]
    assert len(record["fits"]) > 10
    assert record["assumptions"]
    assert record["method"]


def test_estimate_can_be_held_against_one_card(config: Path):
    card = answer("estimate", config)["fits"][0]["gpu"]
    assert [fit["gpu"] for fit in answer("estimate", config, "--gpu", card.lower())["fits"]] == [card]


@pytest.mark.parametrize("name", ["abacus", ""])
def test_a_card_that_does_not_exist_is_told_and_every_other_one_is_held_against(config: Path, name: str):
    result = run("estimate", config, "--gpu", name, "--json")
    record = json.loads(result.stdout)
    assert result.exit_code == 1
    assert f"{name!r} is not in" in record["findings"][0]["message"]
    assert record | {"findings": []} == answer("estimate", config) | {"findings": []}


def test_estimate_shows_tables_to_people(config: Path):
    result = run("estimate", config)
    assert result.exit_code == 0
    assert "Peak reserved" in result.stdout
    assert "Peak: " in result.stdout


def test_every_verdict_of_an_estimate_says_what_its_numbers_say(config: Path):
    for fit in answer("estimate", config)["fits"]:
        assert fit["fits"] is (fit["headroom_bytes"] >= 0) is (fit["verdict"] in ("fits", "tight"))
        assert (fit["failed_in"] is None and fit["reason"] is None) is fit["fits"]


def test_estimate_traces_what_would_save_memory_when_asked(config: Path):
    record = answer("estimate", config, "--savings")
    saved = {saving["setting"]: saving for saving in record["savings"]}
    assert saved["gradient_checkpointing"]["value"] is True
    for saving in record["savings"]:
        assert record["peak_reserved_bytes"] - saving["peak_reserved_bytes"] == saving["saved_bytes"] > 0
    assert "savings" not in answer("estimate", config)
    assert "gradient_checkpointing: true" in run("estimate", config, "--savings").stdout


def test_a_measured_step_stands_beside_the_estimate(config: Path, monkeypatch: pytest.MonkeyPatch):
    figures = Figures(100, 300, 400, 200, 400)
    measured = Measurement("CPU", figures, Figures(100, 330, 400, 200, 400), 1, 128, ("It was small.",))
    monkeypatch.setattr(measurement, "measure_step", lambda *_, **__: measured)
    record = answer("estimate", config, "--measure")
    assert record["measured"]["device"] == "CPU"
    assert record["measured"]["error_percent"]["peak_forward_bytes"] == 10.0
    assert record["measured"].keys() >= {name for name in record if name.endswith("allocated_bytes")}
    assert "measured" not in answer("estimate", config)
    told = run("estimate", config, "--measure").stdout
    assert "1 × 128 tokens on CPU" in told
    assert "+10.00 %" in told
    assert "It was small." in told


def test_a_step_that_cannot_be_measured_takes_nothing_from_the_estimate(config: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: Any, **__: Any) -> None:
        raise MeasurementFailed("The step did not fit on the GPU.")

    monkeypatch.setattr(measurement, "measure_step", fails)
    result = run("estimate", config, "--measure", "--json")
    record = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "did not fit on the GPU" in result.stderr
    assert record["findings"][0]["message"] == "The step did not fit on the GPU."
    assert record["peak_allocated_bytes"] == answer("estimate", config)["peak_allocated_bytes"]


def test_the_allocator_can_be_told_not_to_expand_its_segments(config: Path):
    expandable, fixed = (answer("estimate", config, *option) for option in ((), ("--no-expandable-segments",)))
    assert fixed["peak_reserved_bytes"] != expandable["peak_reserved_bytes"]
    assert any("expandable_segments:False" in sentence for sentence in fixed["assumptions"])


@pytest.mark.parametrize(
    ("line", "setting"),
    [("optimizer: lomo", "optimizer"), ("micro_batch_size: 4096\nsequence_len: 4000000", "sequence_len")],
)
def test_what_cannot_be_traced_gets_a_sentence_its_counts_and_a_lower_bound(config: Path, line: str, setting: str):
    config.write_text(FINE.replace("sequence_len: 128", line), encoding="utf-8")
    result = run("estimate", config, "--json")
    record = json.loads(result.stdout)
    assert result.exit_code == 1
    assert record["findings"][0]["setting"] == setting
    assert record["trainable_params"] == 12 * 8 * (768 + 2304)
    assert record["lower_bound_bytes"] == sum(record["lower_bound_parts"].values())
    assert record["why"] == record["findings"][0]["message"]
    assert "peak_allocated_bytes" not in record
    assert "A lower bound, not an estimate" in run("estimate", config).stdout


def test_a_comparison_gives_a_lower_bound_where_there_is_no_figure(config: Path):
    config.write_text(FINE + "optimizer: lomo\n", encoding="utf-8")
    (row,) = answer("compare", config)
    assert row["lower_bound_bytes"] > 0
    assert "peak_allocated_bytes" not in row
    assert any(finding["setting"] == "optimizer" for finding in row["findings"])


def test_an_adapter_that_matches_nothing_leaves_the_base_model_counted(config: Path):
    config.write_text(FINE.replace("c_attn", "q_proj"), encoding="utf-8")
    result = run("estimate", config, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["base_params"] == 124_439_808


def test_check_finds_what_axolotl_would_drop(config: Path):
    (finding,) = answer("check", config)["findings"]
    assert (finding["setting"], finding["severity"]) == ("my_key", "warning")


def test_check_of_a_fine_file_says_so():
    result = run("check", presets.folder() / "recipes" / "gpt2-conv1d.yml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Nothing to report" in result.stdout


def test_check_says_what_axolotl_does_and_how_to_mend_it(config: Path):
    config.write_text(FINE.replace("adapter: lora", "adapter: qlora"), encoding="utf-8")
    result = run("check", config, "--json")
    assert result.exit_code == 1
    found = {each["setting"]: each for each in json.loads(result.stdout)["findings"]}
    assert (found["load_in_4bit"]["outcome"], found["load_in_4bit"]["fix"]) == ("rejects", [["load_in_4bit", True]])
    assert found["my_key"]["outcome"] == "drops"


def test_check_says_what_axolotl_fills_in(config: Path):
    filled = {each["key"]: each["value"] for each in answer("check", config)["filled_in"]}
    assert (filled["lora_mlp_kernel"], filled["micro_batch_size"]) == (True, 1)
    assert "lora_r" not in filled
    shown = run("check", config).stdout
    assert (shown.count("Fused"), shown.count("lora_o_kernel")) == (1, 1)


def test_check_fills_nothing_into_a_file_at_fault(config: Path):
    config.write_text(FINE.replace("adapter: lora", "adapter: qlora"), encoding="utf-8")
    assert json.loads(run("check", config, "--json").stdout)["filled_in"] == []


def test_check_mends_the_file_and_keeps_its_comments(config: Path):
    config.write_text(FINE.replace("adapter: lora", "adapter: qlora"), encoding="utf-8")
    result = run("check", config, "--fix")
    assert result.exit_code == 0, result.stderr
    assert "Fixed: error (load_in_4bit)" in result.stdout
    assert config.read_text(encoding="utf-8").splitlines()[:3] == [
        "base_model: openai-community/gpt2 # small",
        "load_in_4bit: true",
        "adapter: qlora",
    ]


def test_check_mends_into_another_file_or_to_stdout(config: Path, tmp_path: Path):
    broken = FINE.replace("lora_r: 8\n", "")
    config.write_text(broken, encoding="utf-8")
    written = tmp_path / "mended.yml"
    record = answer("check", config, "--fix", "--output", written)
    assert [each["setting"] for each in record["fixed"]] == ["lora_r"]
    assert config.read_text(encoding="utf-8") == broken
    assert run("check", config, "--fix", "--output", "-").stdout == written.read_text(encoding="utf-8")
    assert run("check", "-", "--fix", stdin=broken).stdout == written.read_text(encoding="utf-8")
    assert "lora_r: 32" in written.read_text(encoding="utf-8")


def test_check_tells_what_no_fix_is_known_for(config: Path):
    config.write_text(FINE + "relora: true\n", encoding="utf-8")
    result = run("check", config, "--fix")
    assert result.exit_code == 1
    assert "relora needs jagged_restart_steps" in result.stderr


def test_check_writes_elsewhere_only_with_fixes(config: Path):
    assert run("check", config, "--output", "x.yml").exit_code == 2


def test_check_of_what_is_no_yaml_says_so_with_fixes_too(config: Path):
    config.write_text("a: [", encoding="utf-8")
    assert run("check", config, "--fix").exit_code == 1
    assert config.read_text(encoding="utf-8") == "a: ["


def test_check_looks_into_the_base_model(config: Path):
    config.write_text(FINE.replace("c_attn", "q_proj"), encoding="utf-8")
    result = run("check", config, "--json")
    assert result.exit_code == 1
    severities = {each["setting"]: each["severity"] for each in json.loads(result.stdout)["findings"]}
    assert severities == {"my_key": "warning", "lora_target_modules": "error"}


def test_check_without_the_base_model_says_what_was_not_checked(config: Path):
    config.write_text(FINE.replace("openai-community/gpt2", "not a model"), encoding="utf-8")
    findings = answer("check", config)["findings"]
    unchecked = [each for each in findings if each["setting"] == "base_model"]
    assert [each["severity"] for each in unchecked] == ["warning"]
    assert unchecked[0]["message"].startswith("What depends on the base model was not checked")


def test_export_gives_back_the_file_byte_for_byte(config: Path, tmp_path: Path):
    assert run("export", config, "--to", "axolotl").stdout == FINE
    written = tmp_path / "out.yml"
    config.write_bytes(FINE.replace("\n", "\r\n").encode())
    assert run("export", config, "--to", "axolotl", "--output", written).stdout == ""
    assert written.read_bytes() == config.read_bytes()


def test_compare_puts_every_configuration_in_a_list(config: Path, tmp_path: Path):
    other = tmp_path / "twice.yml"
    other.write_text(FINE.replace("lora_r: 8", "lora_r: 16"), encoding="utf-8")
    first, second = answer("compare", config, other)
    assert (first["config"], second["config"]) == (str(config), str(other))
    assert second["trainable_params"] == 2 * first["trainable_params"]
    assert second["peak_allocated_bytes"] > first["peak_allocated_bytes"]
    assert run("compare", config, other).exit_code == 0


def test_compare_shows_what_differs_and_against_a_card_verdict_and_speed(config: Path, tmp_path: Path):
    other = tmp_path / "twice.yml"
    other.write_text(FINE.replace("lora_r: 8", "lora_r: 16"), encoding="utf-8")
    said = run("compare", config, other, "--gpu", "RTX 4090").stdout
    assert "lora_r" in said
    assert "lora_dropout" not in said
    assert "Tokens a second" in said
    first, _ = answer("compare", config, other, "--gpu", "RTX 4090")
    assert [fit["gpu"] for fit in first["fits"]] == ["RTX 4090"]
    assert first["tokens_per_second"][0] < first["tokens_per_second"][1]
    assert run("compare", config, "--gpu", "Abacus").exit_code == 1


AT_FAULT = [
    ("lora_r: 8", "lora_r: 0", "lora_r"),
    ("lora_r: 8", "lora_r: -4", "lora_r"),
    ("lora_r: 8", "lora_r: 1.5", "lora_r"),
    ("lora_r: 8", "lora_r:", "lora_r"),
    ("lora_r: 8", "lora_r: 1000000000", "lora_r"),
    ("lora_alpha: 16", "lora_alpha: many", "lora_alpha"),
    ("lora_r: 8", "lora_r: 8\nlora_dropout: 1.0", "lora_dropout"),
    ("lora_r: 8", "lora_r: 8\nlora_dropout: .nan", "lora_dropout"),
    ("adapter: lora", "adapter: qlora", "load_in_4bit"),
    ("adapter: lora", "adapter: lora\nload_in_4bit: true", "load_in_4bit"),
    ("[c_attn]", "'(c_attn'", "lora_target_modules"),
    ("[c_attn]", "[no_such_module]", "lora_target_modules"),
    ("[c_attn]", "[c_attn]\npeft_layers_to_transform: [99]", "peft_layers_to_transform"),
    ("[c_attn]", ".*c_attn\npeft_layers_to_transform: [1]", "peft_layers_to_transform"),
]


@pytest.mark.parametrize(("old", "new", "setting"), AT_FAULT, ids=[new for _, new, _ in AT_FAULT])
def test_a_configuration_at_fault_gets_a_line_and_status_1(config: Path, old: str, new: str, setting: str):
    config.write_text(FINE.replace(old, new), encoding="utf-8")
    result = run("count", config)
    assert (result.exit_code, result.stdout) == (1, "")
    errors = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error ({setting}): ")


@pytest.mark.parametrize("layers", [0, -1])
def test_a_model_config_without_layers_is_refused_as_such(config: Path, tmp_path: Path, layers: int):
    model_config = tmp_path / "config.json"
    model_config.write_text(json.dumps(TINY_CONFIG | {"n_layer": layers}), encoding="utf-8")
    result = run("count", config, "--model-config", model_config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error (base_model): The config.json asks for n_layer = {layers}; ")


@pytest.mark.parametrize("name", ["a" * 500, "a" * 5000, "/" + "a" * 500, "~nobody-of-this-name/x", '"/a\\0b"'])
@pytest.mark.parametrize("command", ["count", "estimate"])
def test_a_base_model_that_no_file_system_takes_gets_one_sentence(config: Path, command: str, name: str):
    config.write_text(FINE.replace("openai-community/gpt2", name), encoding="utf-8")
    result = run(command, config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error (base_model): ")


@pytest.mark.parametrize("regex", ["(.*)*(.*)*(.*)*x", "(.|.)*x"])
def test_a_regex_that_never_ends_is_refused_at_once(config: Path, regex: str):
    config.write_text(FINE.replace("[c_attn]", f"'{regex}'"), encoding="utf-8")
    result = run("count", config)
    assert result.exit_code == 1
    assert "error (lora_target_modules)" in result.stderr


@pytest.mark.parametrize("command", ["count", "estimate", "check", "compare"])
@pytest.mark.parametrize("text", ["- a list\n", "a: 1\n\tb: 2\n", "a: !!python/none\n", "", b"\xff\xfe\x00"])
def test_unreadable_yaml_is_one_json_object_and_status_1(command: str, text: str | bytes):
    result = run(command, "-", "--json", stdin=text)
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["findings"]) == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["count"],
        ["count", "no-such-file.yml"],
        ["count", "."],
        ["export", "CONFIG"],
        ["export", "CONFIG", "--to", "abacus"],
        ["export", "CONFIG", "--to", "axolotl", "--output", "no/such/folder/out.yml"],
        ["estimate", "CONFIG", "--n-gpus", "0"],
        ["estimate", "CONFIG", "--n-gpus", "1000000000000"],
        ["count", "CONFIG", "--model-config", "no-such-file.json"],
        ["abacus"],
    ],
)
def test_a_wrong_call_has_status_2(config: Path, arguments: list[str]):
    result = run(*(config if argument == "CONFIG" else argument for argument in arguments))
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_version_is_printed():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, "0.1.0\n")


def test_the_process_prints_json_and_no_chatter(config: Path):
    command = [sys.executable, "-m", "lora_explorer.cli", "estimate", str(config), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0
    assert json.loads(result.stdout)["peak_allocated_bytes"] > 0
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["warning (my_key)"]


def test_time_prints_a_range_for_every_card_that_holds_the_run(config: Path):
    cards = answer("time", config)["cards"]
    assert len(cards) > 40
    for card in cards:
        assert card["fits"]
        assert card["step_seconds"][0] < card["expected_step_seconds"] < card["step_seconds"][1]
        assert card["tokens_per_second"][0] < card["tokens_per_second"][1]
        assert card["flops_per_step"] > 0
        assert card["bytes_moved_per_step"] > 0
        assert card["tokens_per_step"] == 128
        assert "seconds" not in card


def test_time_gives_hours_and_price_where_the_rows_are_known(config: Path):
    (card,) = answer("time", config, "--gpu", "rtx 4090", "--rows", "1000", "--tokens-per-row", "60")["cards"]
    assert card["steps"] == 1000
    assert card["seconds"] == pytest.approx([1000 * each for each in card["step_seconds"]])
    assert card["dollars"] == pytest.approx([each * card["price"]["usd_per_hour"] / 3600 for each in card["seconds"]])
    assert card["price"]["date"]


def test_time_takes_a_typed_price_and_the_rows_that_the_file_keeps_aside(config: Path):
    config.write_text(FINE + "val_set_size: 0.1\n", encoding="utf-8")
    (card,) = answer("time", config, "--gpu", "T4", "--rows", "1000", "--price", "0.5")["cards"]
    assert card["steps"] == 900
    assert card["price"] == {"usd_per_hour": 0.5, "source": "typed", "date": ""}


def test_time_needs_no_rows_where_max_steps_ends_the_run(config: Path):
    config.write_text(FINE + "max_steps: 20\n", encoding="utf-8")
    (card,) = answer("time", config, "--gpu", "T4")["cards"]
    assert (card["steps"], card["steps_per_epoch"], card["dollars"]) == (20, None, None)


def test_time_shows_tables_to_people(config: Path):
    every, one = run("time", config, "--rows", "1000"), run("time", config, "--gpu", "T4")
    assert (every.exit_code, one.exit_code) == (0, 0)
    assert "RTX 4090" in every.stdout
    assert "at the worst" in " ".join(every.stdout.split())
    assert "RTX 4090" not in one.stdout
    assert "floating point operations" in one.stdout


def test_time_of_a_card_that_does_not_hold_the_run_is_told_as_if_it_did(config: Path):
    config.write_text(FINE.replace("sequence_len: 128", "sequence_len: 1024\nmicro_batch_size: 256"), encoding="utf-8")
    result = run("time", config, "--gpu", "RTX 3070")
    assert result.exit_code == 0
    assert "RTX 3070 does not hold this run: its times are as if it did." in result.stderr


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (("--gpu", "abacus"), 1, "abacus"),
        (("--rows", "0"), 2, "--rows"),
        (("--price", "-1"), 2, "more than 0"),
        (("--tokens-per-row", "5"), 2, "--rows is missing"),
    ],
)
def test_time_refuses_what_it_cannot_use_in_one_sentence(
    config: Path, options: tuple[str, ...], status: int, told: str
):
    result = run("time", config, *options)
    assert result.exit_code == status
    assert told in result.stderr
