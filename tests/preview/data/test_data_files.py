"""Files of four kinds give the same rows; a bad one gives one sentence that says where."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from lora_explorer.base_models import Access
from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.data import keep_upload, load_rows
from lora_explorer.preview.data.files import MOST_FILE_BYTES, MOST_PUBLIC_FILE_BYTES, check_file
from lora_explorer.preview.data.rows import MOST_PUBLIC_ROWS, MOST_ROWS
from lora_explorer.preview.request import DataChoice, DatasetType

ROWS = [{"instruction": "Say ä", "input": "", "output": "ä, 'b'\n"}, {"instruction": "c", "input": "d", "output": "e"}]
PUBLIC = Access(folders=False)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_EXPLORER_HOME", str(tmp_path / "home"))


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    if file.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    elif file.suffix == ".csv":
        with file.open("w", newline="", encoding="utf-8") as lines:
            table = csv.DictWriter(lines, rows[0])
            table.writeheader()
            table.writerows(rows)
    else:
        text = json.dumps(rows) if file.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
        file.write_text(text, encoding="utf-8")
    return file


def file_choice(file: Path, kind: DatasetType | None = None) -> DataChoice:
    return DataChoice(origin="file", name=str(file), type=kind)


def sentence(file: Path, kind: DatasetType | None = None, access: Access = Access()) -> str:  # noqa: B008
    with pytest.raises(PreviewRefused) as refused:
        load_rows(file_choice(file, kind), access=access)
    [finding] = refused.value.findings
    assert finding.setting == "datasets"
    assert "\n" not in finding.message
    assert finding.message.endswith(".")
    return finding.message


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_files_of_every_kind_give_the_same_rows(kind: str, tmp_path: Path) -> None:
    rows = load_rows(file_choice(write(tmp_path / f"x.{kind}", ROWS)))
    assert [dict(record) for record in rows.records] == ROWS
    assert (rows.choice.type, rows.label) == ("alpaca", f"x.{kind}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lines.json", '{"text": "a"}\n\n{"text": "b"}\n'),
        ("table.json", '{"version": 1, "data": [{"text": "a"}, {"text": "b"}]}'),
        ("list.jsonl", '[{"text": "a"}, {"text": "b"}]'),
        ("marked.csv", "\ufefftext\r\na\r\nb\r\n"),
    ],
)
def test_common_variants_are_read_as_well(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert [record["text"] for record in load_rows(file_choice(tmp_path / name)).records] == ["a", "b"]


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"instruction": "a", "output": "b", "text": "c"}, "alpaca"),
        ({"text": "c"}, "completion"),
        ({"messages": [{"role": "user", "content": "a"}]}, "chat_template"),
        ({"messages": '[{"role": "user", "content": "a"}]'}, "chat_template"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "chat_template"),
        ({"segments": [{"label": True, "text": "a"}]}, "input_output"),
    ],
)
def test_the_columns_tell_the_type(columns: dict[str, Any], kind: str, tmp_path: Path) -> None:
    assert load_rows(file_choice(write(tmp_path / "x.jsonl", [columns]))).choice.type == kind


@pytest.mark.parametrize(
    ("name", "contents", "reason"),
    [
        ("empty.jsonl", b"", "empty.jsonl is empty."),
        ("blank.jsonl", b"\n \n", "blank.jsonl has no rows."),
        ("none.json", b"[]", "none.json has no rows."),
        ("header.csv", b"text\n", "header.csv has no rows."),
        ("binary.jsonl", b"\x89PNG\xff\xfe", "binary.jsonl is not text in UTF-8."),
        ("wide.csv", "text\nä\n".encode("utf-16"), "wide.csv is not text in UTF-8."),
        ("broken.jsonl", b'{"text": "a"}\n{"text": }\n', "Line 2 of broken.jsonl is not valid JSON"),
        ("broken.json", b'[{"text": "a"},\n{"text": "b"\n', "Line 3 of broken.json is not valid JSON"),
        ("deep.json", b"[" * 100_000, "deep.json is nested too deeply."),
        ("text.json", b'["a", "b"]', "Row 1 of text.json is no object with columns."),
        ("broken.csv", b"text\na,b,c\n", "Line 2 of broken.csv has more fields than its first line."),
        ("quote.csv", b'text\n"a\n', "of quote.csv is not valid CSV"),
        ("fake.parquet", b"text\na\n", "fake.parquet cannot be read as Parquet."),
        ("notes.txt", b"text", "notes.txt is of no kind that is read here; those are .jsonl, .json, .csv, .parquet."),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_line(
    name: str, contents: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(contents)
    assert reason in sentence(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        (
            "alpaca",
            {"question": "a", "answer": "b"},
            "has the columns question, answer; data of type alpaca need instru",
        ),
        ("completion", {"body": "a"}, "has the column body; data of type completion need text"),
        (None, {"question": "a", "answer": "b"}, "which fit no type: alpaca needs instruction and output"),
        (None, {}, "has no columns"),
    ],
)
def test_a_missing_column_is_told_with_those_that_are_there(
    kind: DatasetType | None, row: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    assert reason in sentence(write(tmp_path / "x.jsonl", [row]), kind)


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        ({"text": "a"}, {"text": 3}, "Row 2 of x.jsonl: text is a number and must be text."),
        ({"text": "a"}, {"other": "b"}, "Row 2 of x.jsonl: text is missing."),
        (ROWS[0], {"instruction": "a", "output": ["b"]}, "Row 2 of x.jsonl: output is a list and must be text."),
        (ROWS[0], {"instruction": "a"}, "Row 2 of x.jsonl: output is missing."),
        ({"messages": [{"role": "user", "content": "a"}]}, {"messages": []}, "messages is empty"),
        ({"messages": [{"role": "user", "content": "a"}]}, {"messages": "a"}, "messages is no list of messages"),
        ({"messages": [{"role": "user", "content": "a"}]}, {"messages": [{"content": "a"}]}, "message 1 has no role"),
        ({"segments": [{"label": True, "text": "a"}]}, {"segments": [{"text": "a"}]}, "a label of true or false"),
    ],
)
def test_a_row_of_another_kind_is_told_with_its_number(
    good: dict[str, Any], bad: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    assert reason in sentence(write(tmp_path / "x.jsonl", [good, bad]))


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    with file.open("wb") as sparse:
        sparse.truncate(2 << 30)
    assert "has 2,147.5 MB; at most 256 MB are read here." in sentence(file)
    os.truncate(file, MOST_FILE_BYTES)
    check_file(file, public=False)
    with pytest.raises(PreviewRefused, match=r"at most 0\.512 MB"):
        keep_upload(file, access=PUBLIC)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "There is no file" in sentence(tmp_path / "absent.jsonl")
    assert "is no file" in sentence(tmp_path)
    assert "There is no file a\ufffdb\ufffd.jsonl." in sentence(Path("a\0b\n.jsonl"))
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "is no file" in sentence(tmp_path / "pipe.jsonl")


def test_of_many_rows_the_first_are_used_with_a_note(tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", [{"text": str(number)} for number in range(MOST_ROWS + 1)])
    rows = load_rows(file_choice(file))
    assert len(rows.records) == MOST_ROWS
    assert rows.notes == ("Only the first 10,000 rows of x.jsonl are used.",)
    public = load_rows(file_choice(Path(keep_upload(file, access=PUBLIC))), access=PUBLIC)
    assert len(public.records) == MOST_PUBLIC_ROWS
    assert public.notes == ("Only the first 2,000 rows of upload.jsonl are used.",)


def test_a_parquet_file_that_unpacks_to_a_monster_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    long_text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 500, pyarrow.int32()), ["a" * 400_000])
    pyarrow.parquet.write_table(pyarrow.table({"text": long_text}), file)
    assert file.stat().st_size < MOST_PUBLIC_FILE_BYTES
    assert "unpacks to more than" in sentence(file)


def test_a_public_page_reads_uploads_and_no_other_file(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", ROWS)
    assert "cannot be read on a public page" in sentence(file, access=PUBLIC)
    upload = Path(keep_upload(file, access=PUBLIC))
    assert len(load_rows(file_choice(upload), access=PUBLIC).records) == len(ROWS)
    link = upload.parent / "link.jsonl"
    link.symlink_to(file)
    for other in (upload.parent / ".." / ".." / "mine.jsonl", link, upload.parent / "none.jsonl"):
        assert "cannot be read on a public page" in sentence(other, access=PUBLIC)


def test_an_upload_outlives_the_file_it_came_from_and_is_kept_once(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", ROWS)
    kept = {keep_upload(file, access=Access()), keep_upload(file, access=PUBLIC)}
    file.unlink()
    [upload] = kept
    assert len(load_rows(file_choice(Path(upload))).records) == len(ROWS)
