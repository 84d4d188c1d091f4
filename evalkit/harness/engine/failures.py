"""The failures of a run, listed at its end. Cells that cannot be scored by definition are not failures."""

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
        fatal: True = raise at the first failure.
    """

    def __init__(self, *, fatal: bool) -> None:
        """See the class."""
        self._fatal = fatal
        self._photos: dict[tuple[str, str], list[str]] = {}

    def add_photo(self, image_id: str, reason: str) -> None:
        """Record a photo that cannot be used.

        Raises:
            RunError: failures are fatal.
        """
        self._require_none_fatal(f"photo '{image_id}' cannot be used: {reason}")

    def add_cells(self, image_id: str, cells: Iterable[Cell]) -> None:
        """Record the failed cells of one photo.

        Raises:
            RunError: a cell failed, and failures are fatal.
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
            raise RunError(f"--fail-on-error: {sentence}; computed results are kept; repeat the command to resume")


def why_failed(name: str, error: BaseException) -> str:
    """Return the reason of a failed cell: the component, and the error's type and message.

    Args:
        name: the explainer, metric or model that raised.
        error: the error.
    """
    try:
        message = str(error).strip().partition("\n")[0][:200].encode("utf-8", "replace").decode()
    except Exception:  # an error's own __str__ may raise
        message = ""
    return f"{name} failed: {type(error).__name__}" + (f": {message}" if message else "")
