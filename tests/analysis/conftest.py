"""Facts and tables that several tests build."""

from __future__ import annotations

import pytest

from tests.builders import explainer_facts


@pytest.fixture
def facts():
    """Describe an explainer: ``facts("gradcam")``, ``facts("occlusion", 32, passes=49, fill="mean")``."""

    def make(name, patch_size=None, *, stride=None, passes=1, control=False, **others):
        parameters = {} if patch_size is None else {"patch_size": patch_size, "stride": stride or patch_size}
        finer = f", stride={stride}" if stride not in (None, patch_size) else ""
        finer += "".join(f", {key}={value}" for key, value in others.items())
        text = name if patch_size is None else f"{name}(patch_size={patch_size}{finer})"
        return explainer_facts(
            text,
            parameters={**parameters, **others},
            control=control,
            positions=passes,
            forward_passes=passes,
            seconds=2.0,
            n_maps=4,
        )

    return make
