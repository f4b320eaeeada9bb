"""The data of a preview: where rows come from, how they become tokens and labels, and what the model sees of them.

Importing this package loads neither torch nor transformers.
"""

from lora_explorer.preview.data.choice import check_choice, data_choice_from, with_keys_beside
from lora_explorer.preview.data.encoding import EncodedData, encode
from lora_explorer.preview.data.rows import BUILT_IN_SETS, Rows, load_rows
from lora_explorer.preview.data.table import DataTable, Piece, TableRow, describe
from lora_explorer.preview.data.uploads import keep_upload

__all__ = [
    "BUILT_IN_SETS",
    "DataTable",
    "EncodedData",
    "Piece",
    "Rows",
    "TableRow",
    "check_choice",
    "data_choice_from",
    "describe",
    "encode",
    "keep_upload",
    "load_rows",
    "with_keys_beside",
]
