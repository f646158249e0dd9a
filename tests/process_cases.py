"""The cases of `test_processes.py`: `python tests/process_cases.py CASE ROUNDS` runs one of them.

A case forks, starts processes or ends while threads are at work, so each gets a process of its own. It passes
if it prints its name last and exits with status 0 before the time limit of its test.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tinyrs

# Large enough for passes and training steps of several threads.
SIZES = [256, 512, 4]
X = np.random.default_rng(1).random((600, 256), dtype=np.float32)
Y = np.arange(len(X)) % 4
CHILD_SECONDS = 60


def network(seed: int = 1) -> tinyrs.Network:
    return tinyrs.Network(SIZES, output_activation="softmax", seed=seed)


def train(trained: tinyrs.Network, **more: object) -> None:
    trained.fit(X, Y, epochs=1, batch_size=200, seed=3, **more)  # type: ignore[arg-type]


def trained_bits(start: tinyrs.Network) -> bytes:
    """The predictions of a copy of `start` after one epoch."""
    trained = copy.copy(start)
    train(trained)
    return trained.forward(X).tobytes()


def use(model: tinyrs.Network) -> tuple[bytes, bytes]:
    """Does everything a network can do; returns the predictions before and after one epoch."""
    before, after = model.forward(X).tobytes(), trained_bits(model)
    assert model.forward(X, n_threads=1).tobytes() == before
    assert np.array(model.forward_one(X[0].tolist()), np.float32).tobytes() == model.forward(X[0]).tobytes()
    assert pickle.loads(pickle.dumps(model)).forward(X).tobytes() == before
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        loaded = tinyrs.load(Path(folder) / "model")
        assert isinstance(loaded, tinyrs.Network)
        assert loaded.forward(X).tobytes() == before
    model.set_parameters(model.parameters())
    train(model, optimizer=tinyrs.Optimizer("adam"))
    assert model.forward(X).tobytes() == after
    return before, after


def in_child(work: Callable[[], object]) -> None:
    """Forks, runs `work` in the child, and fails unless the child then exits with status 0 in time."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_SECONDS)
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"


class Background:
    """A thread that repeats `work` during the `with` block, and has done so once when the block starts."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work, self.stop, self.ran = work, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        while not self.stop.is_set():
            self.work()
            self.ran.set()

    def __enter__(self) -> None:
        self.thread.start()
        assert self.ran.wait(CHILD_SECONDS)

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(CHILD_SECONDS)
        assert not self.thread.is_alive()


# Fork: before the first pass, after one, and while other threads predict and train.


def fork_before_the_first_pass() -> None:
    model = network()
    in_child(lambda: use(copy.copy(model)))
    use(model)


def fork_after_a_pass() -> None:
    model = network()
    expected = use(copy.copy(model))
    in_child(lambda: check_equal(use(copy.copy(model)), expected))
    check_equal(use(copy.copy(model)), expected)


def fork_and_fork_again() -> None:
    model = network()
    expected = use(copy.copy(model))

    def child() -> None:
        in_child(lambda: check_equal(use(copy.copy(model)), expected))
        check_equal(use(copy.copy(model)), expected)
        in_child(lambda: check_equal(use(copy.copy(model)), expected))

    in_child(child)


def fork_during_passes() -> None:
    model = network()
    expected = use(copy.copy(model))
    with Background(lambda: model.forward(X)), Background(lambda: model.forward(X[:2])):
        in_child(lambda: check_equal(use(copy.copy(model)), expected))


def fork_during_training() -> None:
    """The child can use, train and replace the network that its parent's thread is training."""
    model, optimizer = network(), tinyrs.Optimizer("adam")
    with Background(lambda: model.fit(X, Y, epochs=5, batch_size=100)):
        in_child(lambda: use(model))
    with Background(lambda: model.fit(X, Y, epochs=5, batch_size=100, optimizer=optimizer)):
        in_child(lambda: use(model))
    use(model)


def fork_in_a_callback() -> None:
    """The thread that forks is inside `fit`; the training thread does not exist in the child."""
    model = network()
    model.fit(X, Y, epochs=2, callback=lambda record: in_child(lambda: use(model)))
    use(model)


def fork_with_one_thread() -> None:
    tinyrs.set_num_threads(1)
    fork_during_passes()
    fork_during_training()


def fork_a_child_that_exits_normally() -> None:
    """The child runs the interpreter's whole shutdown, while the parent's threads are at work."""
    model = network()
    with Background(lambda: model.forward(X)), Background(lambda: train(copy.copy(model))):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            signal.alarm(CHILD_SECONDS)
            threading.Thread(target=model.forward, args=(X,), daemon=True).start()
            train(model)
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def fork_in_a_pid_namespace_during_passes() -> None:
    """The child has the process id 1; skipped without the privileges."""
    import ctypes

    model = network()
    expected = use(copy.copy(model))
    with Background(lambda: model.forward(X)):
        # From now on, this process can start no threads; its children can.
        if ctypes.CDLL(None).unshare(0x20000000):  # CLONE_NEWPID
            print("skipped: creating a PID namespace needs privileges")
            return
        in_child(lambda: check_equal((os.getpid(), use(copy.copy(model))), (1, expected)))


def check_equal(got: object, expected: object) -> None:
    assert got == expected, "the results in a child differ from those in its parent"


# New processes: a network travels by pickling.


def bits_of_a_network(model: tinyrs.Network) -> tuple[bytes, bytes]:
    return use(model)


def start_processes(method: str) -> None:
    model = network()
    expected = use(copy.copy(model))
    with (
        Background(lambda: model.forward(X)),
        multiprocessing.get_context(method).Pool(2) as pool,
    ):
        assert pool.map(bits_of_a_network, [model] * 4) == [expected] * 4


def start_with_spawn() -> None:
    start_processes("spawn")


def start_with_forkserver() -> None:
    start_processes("forkserver")


def start_with_loky() -> None:
    from joblib.externals.loky import ProcessPoolExecutor

    model = network()
    expected = use(copy.copy(model))
    with ProcessPoolExecutor(2) as executor:
        assert list(executor.map(bits_of_a_network, [model] * 4)) == [expected] * 4


def start_with_scikit_learn() -> None:
    """Processes of scikit-learn's own parallel loops train and predict."""
    from sklearn.model_selection import cross_val_score

    classifier = tinyrs.TinyClassifier(hidden_layer_sizes=(16,), max_iter=2, random_state=0)
    alone = cross_val_score(classifier, X, Y, cv=2)
    assert (cross_val_score(classifier, X, Y, cv=2, n_jobs=2) == alone).all()


# Shutdown and interpreters.


def exit_while_daemon_threads_work() -> None:
    """The interpreter ends while threads are inside passes and training, which must not crash or hang it."""

    def child() -> None:
        model = network()
        data: list[npt.NDArray[np.float32]] = [X, X[:1], X[:40]]
        for x in data:
            threading.Thread(target=repeat, args=(model.forward, x), daemon=True).start()
        threading.Thread(target=repeat, args=(train, copy.copy(model)), daemon=True).start()
        long = {"callback": lambda record: False}
        for _ in range(2):
            other = copy.copy(model)
            threading.Thread(target=repeat, args=(lambda m: train(m, **long), other), daemon=True).start()
        time.sleep(0.05 + 0.05 * np.random.default_rng(os.getpid()).random())
        sys.exit(7)

    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        signal.alarm(CHILD_SECONDS)
        child()
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7


class Slow:
    """Sleeps in `__del__`, which runs while the interpreter shuts down."""

    def __del__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        sleep(0.5)


def exit_during(work: Callable[[Callable[[], None]], object]) -> None:
    """The interpreter ends while a daemon thread is in Python code that `work` calls through Rust.

    `work` gets the function to call there, which asks for the GIL again after the shutdown has begun.
    """
    reached = threading.Event()

    def pause() -> None:
        reached.set()
        time.sleep(0.2)

    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        signal.alarm(CHILD_SECONDS)
        sys.modules["slow"] = Slow()  # type: ignore[assignment]
        threading.Thread(target=work, args=(pause,), daemon=True).start()
        assert reached.wait(CHILD_SECONDS)
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7


def exit_during_a_callback() -> None:
    exit_during(lambda pause: train(network(), callback=lambda record: pause()))


def exit_during_a_conversion() -> None:
    """`__array__` stands for NumPy, which releases the GIL while it copies a large array."""

    class Array:
        def __init__(self, pause: Callable[[], None]) -> None:
            self.pause = pause

        def __array__(self, *_: object, **__: object) -> npt.NDArray[np.float32]:
            self.pause()
            return X

    exit_during(lambda pause: network().forward(Array(pause)))


def exit_during_a_property() -> None:
    """The attributes of SciPy's sparse matrices are properties."""

    class Sparse:
        def __init__(self, pause: Callable[[], None]) -> None:
            self.tocsr, self.pause = None, pause

        @property
        def format(self) -> str:
            self.pause()
            return "csr"

    exit_during(lambda pause: network().forward(Sparse(pause)))  # type: ignore[arg-type]


def repeat(work: Callable[..., object], *args: object) -> None:
    while True:
        work(*args)


def import_in_a_subinterpreter() -> None:
    """A clear ImportError there; the main interpreter goes on."""
    model = network()
    expected = use(copy.copy(model))
    code = """
try:
    import tinyrs
except ImportError as error:
    assert "interpreter" in str(error), error
else:
    raise AssertionError("tinyrs was imported")
"""
    run_in_a_subinterpreter(f"import sys; sys.path[:] = {sys.path!r}\n{code}")
    check_equal(use(copy.copy(model)), expected)


def run_in_a_subinterpreter(code: str) -> None:
    if sys.version_info >= (3, 14):
        from concurrent import interpreters

        interpreter = interpreters.create()
        interpreter.exec(code)
        interpreter.close()
    elif sys.version_info >= (3, 13):
        import _interpreters as low_level  # type: ignore[import-not-found, unused-ignore]

        made = low_level.create()
        failure = low_level.exec(made, code)
        low_level.destroy(made)
        assert failure is None, failure
    else:
        import _xxsubinterpreters as older  # type: ignore[import-not-found, unused-ignore]

        made = older.create()
        older.run_string(made, code)
        older.destroy(made)


# Limits of the system.


def obey_a_cgroup_quota() -> None:
    """A quota of one core allows one thread, and no worker is started; skipped without the privileges."""
    with quota_of_one_core() as found:
        if not found:
            print("skipped: no cgroup can be created")
            return
        assert tinyrs.get_num_threads() == 1
        model = network()
        use(model)
        names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
        assert not [name for name in names if name.startswith("tinyrs-")], names


class quota_of_one_core:  # noqa: N801 (reads like a function)
    """Moves this process into a new cgroup with a quota of one core, and back."""

    def __enter__(self) -> bool:
        self.group = None
        name = f"tinyrs-test-{os.getpid()}"
        for root, version in ((Path("/sys/fs/cgroup/cpu"), 1), (Path("/sys/fs/cgroup"), 2)):
            inside = Path("/proc/self/cgroup").read_text().splitlines()
            own = next((line.split(":", 2)[2] for line in inside if is_cpu_line(line, version)), None)
            if own is None:
                continue
            self.home = root / own.lstrip("/")
            group = self.home / name
            try:
                group.mkdir()
                self.group = group
                if version == 1:
                    (group / "cpu.cfs_period_us").write_text("100000")
                    (group / "cpu.cfs_quota_us").write_text("100000")
                else:
                    (group / "cpu.max").write_text("100000 100000")
                (group / "cgroup.procs").write_text(str(os.getpid()))
            except OSError:
                self.__exit__()
                self.group = None
                continue
            return True
        return False

    def __exit__(self, *_: object) -> None:
        if self.group is not None:
            (self.home / "cgroup.procs").write_text(str(os.getpid()))
            self.group.rmdir()


def is_cpu_line(line: str, version: int) -> bool:
    number, controllers, _ = line.split(":", 2)
    return number == "0" and controllers == "" if version == 2 else "cpu" in controllers.split(",")


CASES = {
    case.__name__: case
    for case in (
        fork_before_the_first_pass,
        fork_after_a_pass,
        fork_and_fork_again,
        fork_during_passes,
        fork_during_training,
        fork_in_a_callback,
        fork_with_one_thread,
        fork_a_child_that_exits_normally,
        fork_in_a_pid_namespace_during_passes,
        start_with_spawn,
        start_with_forkserver,
        start_with_loky,
        start_with_scikit_learn,
        exit_while_daemon_threads_work,
        exit_during_a_callback,
        exit_during_a_property,
        exit_during_a_conversion,
        import_in_a_subinterpreter,
        obey_a_cgroup_quota,
    )
}

if __name__ == "__main__":
    name, rounds = sys.argv[1:]
    for _ in range(int(rounds)):
        CASES[name]()
    print("passed:", name)
