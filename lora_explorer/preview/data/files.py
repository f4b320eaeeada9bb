"""Rows of a file: JSONL, JSON, CSV or Parquet. The standard library reads them where it can, as it imports at once."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lora_explorer.preview.data.refusal import refusal, shown

MOST_FILE_BYTES = 256_000_000
MOST_PUBLIC_FILE_BYTES = 512_000
# A small Parquet file can hold very long columns of one repeated value; no text worth training on packs so well.
_LEAST_UNPACKED_BYTES = 64 << 20
_MOST_TIMES_UNPACKED = 4
_BATCH_ROWS = 8
_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_file(file: Path, *, public: bool) -> None:
    """Refuse a file by its name and size, before it is read. Raises PreviewRefused."""
    most_bytes = MOST_PUBLIC_FILE_BYTES if public else MOST_FILE_BYTES
    name = file_label(file)
    try:
        if not file.exists():
            raise refusal(f"There is no file {shown(str(file))}.")
        if not file.is_file():
            raise refusal(f"{shown(str(file))} is no file; name one of {', '.join(SUFFIXES)}.")
        size = file.stat().st_size
    except (OSError, ValueError) as error:
        raise refusal(f"{shown(str(file))} cannot be read: {_reason(error)}.") from error
    if file.suffix.lower() not in SUFFIXES:
        raise refusal(f"{name} is of no kind that is read here; those are {', '.join(SUFFIXES)}.")
    if size > most_bytes:
        raise refusal(f"{name} has {size / 1e6:,.1f} MB; at most {most_bytes / 1e6:g} MB are read here.")
    if size == 0:
        raise refusal(f"{name} is empty.")


def read_file(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, one after another. Raises PreviewRefused at the first that cannot be read, with its line."""
    try:
        for number, row in enumerate(_READERS[file.suffix.lower()](file), start=1):
            if not isinstance(row, dict):
                raise refusal(f"Row {number:,} of {file_label(file)} is no object with columns.")
            yield row
    except UnicodeDecodeError as error:
        raise refusal(f"{file_label(file)} is not text in UTF-8.") from error
    except RecursionError as error:
        raise refusal(f"{file_label(file)} is nested too deeply.") from error
    except OSError as error:
        raise refusal(f"{file_label(file)} cannot be read: {_reason(error)}.") from error


def _json_lines(file: Path) -> Iterator[Any]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield from _unwrapped(_parsed(line, file, number))


def _json(file: Path) -> Iterator[Any]:
    text = file.read_text(encoding="utf-8-sig")
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        # Files of one object a line are often called .json too.
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            yield from _json_lines(file)
            return
        raise _broken(file, error.lineno, error) from error
    if isinstance(whole, dict):
        tables = [value for value in whole.values() if _is_table(value)]
        whole = tables[0] if len(tables) == 1 and not _is_conversation(whole) else [whole]
    yield from _unwrapped(whole)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _is_conversation(row: dict[str, Any]) -> bool:
    return any(key in row for key in ("messages", "conversations", "segments"))


def _unwrapped(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    else:
        yield value


def _parsed(line: str, file: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise _broken(file, number, error) from error


def _broken(file: Path, line: int, error: json.JSONDecodeError) -> Exception:
    return refusal(f"Line {line:,} of {file_label(file)} is not valid JSON: {error.msg} at character {error.colno:,}.")


def _csv(file: Path) -> Iterator[Any]:
    # Its own limit of 131,072 characters a field is below what a long text may have; the file's size is bounded.
    csv.field_size_limit(MOST_FILE_BYTES)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            for row in reader:
                if None in row:
                    raise refusal(
                        f"Line {reader.line_num:,} of {file_label(file)} has more fields than its first line."
                    )
                yield row
        except csv.Error as error:
            raise refusal(f"Line {reader.line_num:,} of {file_label(file)} is not valid CSV: {error}.") from error


def _parquet(file: Path) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            most_bytes = max(_LEAST_UNPACKED_BYTES, _MOST_TIMES_UNPACKED * file.stat().st_size)
            groups = (table.metadata.row_group(place) for place in range(table.num_row_groups))
            _check_unpacked(file, sum(group.total_byte_size for group in groups), most_bytes)
            unpacked_bytes = 0
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                rows = batch.to_pylist()
                unpacked_bytes += _text_bytes(rows)
                _check_unpacked(file, unpacked_bytes, most_bytes)
                yield from rows
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise refusal(f"{file_label(file)} cannot be read as Parquet.") from error


def _check_unpacked(file: Path, unpacked_bytes: int, most_bytes: int) -> None:
    if unpacked_bytes > most_bytes:
        raise refusal(f"{file_label(file)} unpacks to more than {most_bytes / 1e6:,.0f} MB.")


def _text_bytes(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_text_bytes(item) for item in value.values())
    if isinstance(value, list):
        return sum(_text_bytes(item) for item in value)
    return len(value) if isinstance(value, (str, bytes)) else 8


_READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
SUFFIXES = tuple(_READERS)


def file_label(file: Path) -> str:
    """What to call a file in a sentence; an upload is kept under a hash, which nobody would recognise."""
    return f"upload{file.suffix}" if _DIGEST.fullmatch(file.stem) else shown(file.name)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error).rstrip(".")
