"""Lines of a CSV file, with file and line number for messages."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evalkit.core.errors import DataError
from evalkit.core.names import escaped

__all__ = ["Line", "csv_lines", "require_commas"]

_SHOWN_FIELDS, _SHOWN_LETTERS = 12, 40


@dataclass(frozen=True)
class Line:
    """The stripped fields of one line, and its file and number for messages."""

    fields: list[str]
    where: str

    @property
    def shown(self) -> str:
        """The first fields for a message, shortened."""
        first = ", ".join(escaped(text[:_SHOWN_LETTERS]) for text in self.fields[:_SHOWN_FIELDS])
        return f"{first}, and {len(self.fields) - _SHOWN_FIELDS} more" if len(self.fields) > _SHOWN_FIELDS else first


def csv_lines(path: Path) -> Iterator[Line]:
    """Yield every line that is not empty.

    Args:
        path: path of a UTF-8 file, with or without byte order mark, with any line ends.

    Raises:
        DataError: the file cannot be read or is not CSV.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            for fields in reader:
                stripped = [value.strip() for value in fields]
                if any(stripped):
                    yield Line(stripped, f"{escaped(path.name)} line {number + 1}")
                number = reader.line_num
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; name a CSV manifest that does") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (after line {number}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path.name} line {number + 1}: not CSV ({error}); check the quotes") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def require_commas(header: Line, path: Path) -> None:
    """Raise DataError if a header's columns are separated by semicolons or tabs."""
    for separator, noun in ((";", "semicolons"), ("\t", "tabs")):
        if len(header.fields) == 1 and separator in header.fields[0]:
            raise DataError(f"{path}: the columns are separated by {noun}; save it with commas")
