"""The threads of the linear algebra library: one, because the last digits of its products depend on their number."""

from __future__ import annotations

from contextlib import AbstractContextManager

__all__ = ["one_algebra_thread"]


def one_algebra_thread() -> AbstractContextManager[object]:
    """Return a block in which products of NumPy and SciPy use one thread of this process; TensorFlow's do not."""
    import scipy.linalg  # noqa: F401 - loads SciPy's library, which is another than NumPy's
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
