"""``Explanation``: what ``explain`` returns."""

from __future__ import annotations

from dataclasses import fields

from evalkit.harness.explain import ExplainedPhoto

__all__ = ["Explanation"]


class Explanation(ExplainedPhoto):
    """A map, and everything needed to draw and describe it; a notebook shows it over its photo."""

    @classmethod
    def of(cls, made: ExplainedPhoto) -> Explanation:
        """Return the same explanation as one that notebooks show."""
        return cls(**{field.name: getattr(made, field.name) for field in fields(made)})

    def __repr__(self) -> str:
        """Return the explainer, the class with its score, and the photo."""
        return f"Explanation({self.explainer}: {self.about})"

    def _repr_html_(self) -> str:
        """Show the photo, the map over it and its scale in a notebook."""
        from evalkit.report.html.notebook import map_html

        return map_html(
            self.saliency_map,
            self.photo,
            geometry=self.geometry,
            region=self.region,
            title=self.explainer,
            about=self.about,
            notes=self.notes,
        )
