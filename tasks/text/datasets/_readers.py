"""One split from one file: JSON Lines, CSV, TSV, Parquet, or the folder that ``datasets`` saves."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.tasks.errors import UserError
from hauberk.tasks.json_lines import json_object
from hauberk.tasks.text.datasets._rows import Columns, Row, Table, row

if TYPE_CHECKING:
    import datasets


def read(path: Path, columns: Columns) -> Table:
    """Returns the rows of ``path``, in its order; the name's ending says what it is.

    Raises:
        UserError: if it is missing or unreadable, lacks a column, or a row has no text or no label.
    """
    if not path.exists():
        raise UserError(f"There is no file '{path}'.")
    if path.is_dir():
        return read_folder(path, columns)
    if path.suffix not in READERS:
        raise UserError(f"'{path}' must end in one of {', '.join(READERS)}, or be a save_to_disk folder.")
    try:
        return Table(source=str(path), rows=list(READERS[path.suffix](path, columns)))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}."
        ) from error
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror or error}.") from error


def read_json_lines(path: Path, columns: Columns) -> Iterator[Row]:
    """Yields the rows of a file with one JSON object a line."""
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                record = json_object(f"{path} line {number}", line)
                columns.check(f"{path} line {number}", record)
                yield row(str(path), number, record, columns)


def read_delimited(path: Path, columns: Columns) -> Iterator[Row]:
    """Yields the rows of a CSV or TSV file whose first line names the columns."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",")
        try:
            columns.check(str(path), reader.fieldnames or [])
            for record in reader:
                yield row(str(path), reader.line_num, record, columns)
        except csv.Error as error:
            raise UserError(f"{path} line {reader.line_num}: {error}.") from error


def read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    """Yields the rows of a Parquet file."""
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(path)
        columns.check(str(path), file.schema_arrow.names)
        records = file.read(columns=list(columns.names)).to_pylist()
    except ArrowException as error:
        raise UserError(f"{path} is no Parquet file: {str(error).splitlines()[0]}") from error
    for number, record in enumerate(records, start=1):
        yield row(str(path), number, record, columns)


def read_folder(path: Path, columns: Columns) -> Table:
    """Returns the rows of a folder written by ``datasets``' save_to_disk."""
    import datasets

    try:
        found = datasets.load_from_disk(str(path))
    except FileNotFoundError as error:
        raise UserError(f"The folder '{path}' was not written by save_to_disk.") from error
    if isinstance(found, datasets.DatasetDict):
        raise UserError(
            f"'{path}' holds several splits, name one: {', '.join(str(path / name) for name in found)}."
        )
    return table_of(str(path), found, columns)


def table_of(source: str, found: datasets.Dataset, columns: Columns) -> Table:
    """Returns the rows of a loaded data set; declared class names are kept."""
    columns.check(source, found.column_names)
    classes = getattr(found.features[columns.label], "names", None)
    records = found.select_columns(list(columns.names))
    return Table(
        source=source,
        rows=[row(source, number, record, columns) for number, record in enumerate(records, start=1)],
        classes=None if classes is None else tuple(classes),
    )


READERS = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json_lines,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".parquet": read_parquet,
}
