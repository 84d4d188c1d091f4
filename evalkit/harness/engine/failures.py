"""What failed in a run: kept apart from what merely cannot be scored, listed at the end."""

from __future__ import annotations

from collections.abc import Iterable

from evalkit.core.errors import EvalkitError
from evalkit.harness.engine.jobs import Cell

__all__ = ["Failures", "RunError", "why_failed"]

_LISTED = 20


class RunError(EvalkitError, RuntimeError):
    """A photo, an explainer or a metric failed, and ``--fail-on-error`` was given."""


class Failures:
    """Collects failures over the photos of a run.

    Args:
        fatal: raise at the first.
    """

    def __init__(self, *, fatal: bool) -> None:
        """See the class."""
        self._fatal = fatal
        self._photos: dict[tuple[str, str], list[str]] = {}

    def add_photo(self, image_id: str, reason: str) -> None:
        """Note a photo that cannot be used.

        Raises:
            RunError: it is fatal.
        """
        self._require_none_fatal(f"photo '{image_id}' cannot be used: {reason}")

    def add_cells(self, image_id: str, cells: Iterable[Cell]) -> None:
        """Note the failed cells of one photo.

        Raises:
            RunError: there is one, and it is fatal.
        """
        for cell in cells:
            if cell.failed:
                photos = self._photos.setdefault((cell.explainer, cell.reason or ""), [])
                if not photos or photos[-1] != image_id:
                    photos.append(image_id)
                self._require_none_fatal(f"{cell.explainer} on photo '{image_id}': {cell.reason}")

    def lines(self) -> list[str]:
        """Return a sentence for every kind of failure, the most frequent first."""
        kinds = sorted(self._photos.items(), key=lambda kind: -len(kind[1]))
        lines = [
            f"failed: {explainer} on {len(photos)} photo{'s' if len(photos) > 1 else ''} (first: {photos[0]}): {reason}"
            for (explainer, reason), photos in kinds[:_LISTED]
        ]
        if len(kinds) > _LISTED:
            lines.append(f"failed: {len(kinds) - _LISTED} more kinds; show RUN --per-image lists every score")
        return lines

    def _require_none_fatal(self, sentence: str) -> None:
        if self._fatal:
            raise RunError(f"--fail-on-error: {sentence}; what is computed is kept, repeat the command to go on")


def why_failed(name: str, error: BaseException) -> str:
    """Return the reason of a cell: what raised, and what it said.

    Args:
        name: the explainer, metric or model that raised.
        error: what it raised.
    """
    try:
        message = str(error).strip().partition("\n")[0][:200].encode("utf-8", "replace").decode()
    except Exception:  # an error may fail to say what it is
        message = ""
    return f"{name} failed: {type(error).__name__}" + (f": {message}" if message else "")
