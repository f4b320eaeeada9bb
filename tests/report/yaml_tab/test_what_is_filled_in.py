"""What Axolotl fills in by itself is told by its reasons."""

from __future__ import annotations

from lora_explorer.exports.axolotl.filled_in import FilledIn
from lora_explorer.report.yaml_tab.filled_in import filled_in_list


def test_values_with_one_reason_share_its_line() -> None:
    kernels = [FilledIn(key, True, "Fused.") for key in ("lora_mlp_kernel", "lora_qkv_kernel")]
    html = filled_in_list([*kernels, FilledIn("lora_dropout", 0.0, "None was given.")])
    assert "3 values" in html
    assert html.count("<li>") == 2
    assert "lora_mlp_kernel: true, lora_qkv_kernel: true" in html


def test_where_nothing_is_filled_in_nothing_is_said() -> None:
    assert filled_in_list([]) == ""


def test_markup_stays_text() -> None:
    assert "<b>" not in filled_in_list([FilledIn("wandb_name", "<b>", "<b>")])
