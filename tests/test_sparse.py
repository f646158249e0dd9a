"""SciPy CSR matrices, which are never made dense as a whole."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import tinyrs
from tinyrs import Network, TinyClassifier


def matrix(rows: int = 300, columns: int = 41, dtype: Any = np.float64) -> Any:
    return sp.random_array(
        (rows, columns), density=0.1, format="csr", dtype=dtype, rng=np.random.default_rng(0)
    )


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("make", [sp.csr_array, sp.csr_matrix])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_rows_give_the_results_of_dense_rows(precision: str, make: Any, index: Any) -> None:
    X = make(matrix())
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    y = np.arange(300) % 3
    sparse, full = (
        Network([41, 20, 3], output_activation="softmax", precision=precision, seed=1) for _ in range(2)
    )
    np.testing.assert_array_equal(sparse.forward(X), full.forward(X.toarray()))
    assert sparse.loss_and_gradients(X, y)[0] == full.loss_and_gradients(X.toarray(), y)[0]
    sparse.fit(X, y, epochs=3, seed=1, validation=(X[:50], y[:50]))
    full.fit(X.toarray(), y, epochs=3, seed=1, validation=(X[:50].toarray(), y[:50]))
    out = np.empty((300, 3), dtype={"f32": np.float32, "f64": np.float64}[precision])
    assert sparse.forward(X, out=out) is out
    np.testing.assert_array_equal(out, full.forward(X.toarray()))


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of the memory depends on the system")
def test_memory_depends_on_the_batch_only() -> None:
    """The dense matrix, 10,000 rows of 50,000 columns, would need 2 GB."""
    resource = pytest.importorskip("resource")
    X = sp.csr_array((10_000, 50_000), dtype=np.float32)
    network = Network([50_000, 8, 2], output_activation="softmax", seed=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network.fit(X, np.zeros(10_000, dtype=int), epochs=1, batch_size=32)
    network.forward(X[:2000])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


WIDE_PASSES = """
import ctypes, threading
import numpy as np, scipy.sparse as sp, tinyrs

def kib():
    ctypes.CDLL(None).malloc_trim(0)
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

def predict(columns):
    rows = sp.csr_array(([1.0], [columns - 1], [0] + [1] * 16), (16, columns), np.float32)
    tinyrs.Network([columns, 2], seed=0).forward(rows, n_threads=1)

def stay():
    predict(1_000_000)
    used.wait()
    end.wait()

predict(10)
before = kib()
used, end = threading.Barrier(9), threading.Event()
threads = [threading.Thread(target=stay) for _ in range(8)]
for thread in threads:
    thread.start()
used.wait()
print(kib() - before)
end.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and glibc")
def test_threads_keep_little_memory_after_wide_rows() -> None:
    """Eight threads that have predicted 16 rows of a million columns, 64 MB in f32, keep little of it."""
    done = subprocess.run([sys.executable, "-c", WIDE_PASSES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # At most 64 MiB are kept for the whole process, and 2 MiB by each thread.
    assert int(done.stdout) < (64 + 8 * 2 + 16) << 10


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (
            matrix().tocsc(),
            TypeError,
            "X: expected an array or a CSR matrix, got a sparse matrix of format 'csc'",
        ),
        (matrix(columns=40), ValueError, "X: expected 41 features, got 40"),
        (matrix().astype(complex), TypeError, "X: expected an array of real numbers"),
    ],
)
def test_unsuitable_matrices_are_refused(X: Any, error: Any, message: str) -> None:
    network = Network([41, 3])
    message = message.replace("'csc'", ".csc.")
    with pytest.raises(error, match=message):
        network.forward(X)
    with pytest.raises(error, match=message):
        network.fit(X, np.zeros((X.shape[0], 3)))


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("data", np.nan, "X: expected finite f32 values, got NaN at row"),
        ("indices", 41, "X: expected indices of at least 0 and below 41, got 41"),
        ("indptr", 10**6, "X: expected an indptr that ascends"),
    ],
)
def test_damaged_matrices_are_refused(part: str, value: float, message: str) -> None:
    X = matrix()
    getattr(X, part)[5] = value
    with pytest.raises(ValueError, match=message):
        Network([41, 3]).forward(X)


@pytest.mark.parametrize("index", [2**32, -(2**32), 2**31, -1])
def test_indices_beyond_32_bits_are_refused(index: int) -> None:
    X = matrix()
    X.indices = X.indices.astype(np.int64)
    X.indices[5] = index
    with pytest.raises(ValueError, match=f"X: expected indices of at least 0 and below 41, got {index}$"):
        Network([41, 3]).forward(X)


@pytest.mark.parametrize("part", ["indices", "indptr"])
def test_indices_that_are_not_integers_are_refused(part: str) -> None:
    X = matrix()
    setattr(X, part, getattr(X, part).astype(float))
    with pytest.raises(TypeError, match="X: expected integer indices, got ndarray of dtype float64"):
        Network([41, 3]).forward(X)


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_unaligned_arrays_are_copied(part: str) -> None:
    X = sp.csr_matrix(matrix(dtype=np.float32))
    network = Network([41, 3], seed=1)
    expected = network.forward(X)
    dtype = np.dtype({"data": np.float32, "indices": np.int32, "indptr": np.int64}[part])
    aligned = getattr(X, part).astype(dtype)
    unaligned = np.zeros(aligned.nbytes + 1, np.uint8)[1:].view(dtype)
    unaligned[:] = aligned
    setattr(X, part, unaligned)
    assert not getattr(X, part).flags.aligned
    np.testing.assert_array_equal(network.forward(X), expected)


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_out_must_not_overlap_the_matrix(part: str) -> None:
    X = sp.csr_matrix(matrix(dtype=np.float32))
    X.indptr = X.indptr.astype(np.int64)
    network = Network([41, 1], seed=1)
    before = [X.data.copy(), X.indices.copy(), X.indptr.copy()]
    out = getattr(X, part).view(np.float32)[-300:].reshape(300, 1)
    with pytest.raises(ValueError, match="out: it shares memory with X; pass another array"):
        network.forward(X, out=out)
    for array, copy in zip([X.data, X.indices, X.indptr], before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.fixture(scope="module")
def words() -> tuple[Any, Any]:
    """Counts of 500 words in 600 texts of two classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    rate = np.where(y[:, np.newaxis] == 1, rng.gamma(0.1, size=500), rng.gamma(0.1, size=500))
    return sp.csr_array(rng.poisson(rate * 0.5)), np.array(["ham", "spam"])[y]


def test_the_classifier_learns_from_sparse_rows(words: Any, tmp_path: Any) -> None:
    X, y = words
    clf = TinyClassifier(n_layers=1, width=32, max_iter=20, random_state=0).fit(X[:400], y[:400])
    assert clf.score(X[400:], y[400:]) > 0.9
    p = clf.predict_proba(X)
    np.testing.assert_array_equal(p, clf.predict_proba(sp.csc_matrix(X)))
    np.testing.assert_array_equal(p, clf.predict_proba(X.toarray()))
    np.testing.assert_array_equal(p, pickle.loads(pickle.dumps(clf)).predict_proba(X))
    # The weights of the predictor include the scale of the features, so it rounds differently.
    clf.save(tmp_path / "model")
    for predictor in (clf.predictor(), tinyrs.load(tmp_path / "model")):
        assert isinstance(predictor, tinyrs.Predictor)
        np.testing.assert_allclose(predictor.predict_proba(X), p, atol=1e-5)
        np.testing.assert_allclose(predictor.predict_proba(X.toarray()[0]), p[0], atol=1e-5)
    with pytest.raises(ValueError, match="categorical_features: expected none for a sparse matrix"):
        TinyClassifier(categorical_features=[0]).fit(X, y)
    dense = TinyClassifier(n_layers=1, width=8, max_iter=1).fit(X.toarray(), y)
    for refused in (dense.predict, dense.predictor().predict):
        with pytest.raises(TypeError, match="X: expected dense rows, as in fit, got a sparse matrix"):
            refused(X)


def test_sparse_rows_can_be_weighted_and_fitted_in_parts(words: Any) -> None:
    X, y = words
    options: dict[str, Any] = {"n_layers": 1, "width": 16, "max_iter": 5, "random_state": 0}
    weight = (np.arange(600) % 3 > 0).astype(float)
    weighted = TinyClassifier(**options).fit(X, y, sample_weight=weight)
    chosen = TinyClassifier(**options).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_array_equal(weighted.predict_proba(X), chosen.predict_proba(X))
    held = TinyClassifier(**options).fit(X[:500], y[:500], eval_set=(X[500:], y[500:]))
    assert held.validation_scores_ is not None
    clf = TinyClassifier(n_layers=1, width=16, random_state=0)
    for start in range(0, 600, 100):
        clf.partial_fit(X[start : start + 100], y[start : start + 100], classes=["ham", "spam"])
    assert clf.predict_proba(X).shape == (600, 2)
