"""Facts and tables that several tests build."""

from __future__ import annotations

import pytest

from evalkit.store.manifest import ExplainerFacts


@pytest.fixture
def facts():
    """Describe an explainer: ``facts("gradcam")``, ``facts("occlusion", 32, passes=49)``."""

    def make(name, patch_size=None, *, stride=None, passes=1, control=False):
        parameters = {} if patch_size is None else {"patch_size": patch_size, "stride": stride or patch_size}
        finer = f", stride={stride}" if stride not in (None, patch_size) else ""
        text = name if patch_size is None else f"{name}(patch_size={patch_size}{finer})"
        return ExplainerFacts(text, name, parameters, control, passes, passes, "full pass", 2.0, 4)

    return make
