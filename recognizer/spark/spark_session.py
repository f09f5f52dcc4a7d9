"""A session of Spark, what is distributed to its workers, and jobs with progress."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recognizer.core.errors import ModelMissing, RecognizerError, SettingsError
from recognizer.core.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Called with what is done, and of how much.
Reporter = Callable[[int, int], None]
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

MISSING = "Spark is not installed: pip install -r requirements-spark.txt, or with the package: pip install recognizer[spark]"
NO_JAVA = (
    "Spark needs Java 17 or newer, and there is none: install it (Debian, Ubuntu: apt-get install default-jre-headless), "
    "or set JAVA_HOME"
)
#: Attempts at a task. With one master's default in local mode, one, a killed worker would fail the job.
_ATTEMPTS = 4
_POLL_SECONDS = 0.25
#: What short-lived JVMs that only pass paths and counts on are quicker and smaller with.
_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
#: The import that fails in a worker, and what is to be done.
_NOT_IN_WORKER = (
    "the Python of Spark's workers cannot import recognizer: install it on every machine, or set PYSPARK_PYTHON to an "
    "interpreter that has it"
)


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings of the environment, with some replaced.

    Raises
    ------
    SettingsError
    """
    unknown = sorted(set(given) - {item.name for item in SETTINGS})
    if unknown:
        raise SettingsError(f"no such setting: {', '.join(unknown)}")
    values: dict[str, Any] = dict(given)
    for name in ("known_faces", "state_dir", "models_dir"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    return Settings.from_environment(**values)


# -- the session ------------------------------------------------------------------------------------------------------


def require_spark() -> None:
    """Check that a session can be made here.

    Raises
    ------
    SettingsError
        pyspark or Java is missing, or PYSPARK_PYTHON is an interpreter that cannot run the workers.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise SettingsError(MISSING)
    home = os.environ.get("JAVA_HOME")
    if (home and not Path(home, "bin", "java").exists()) or not (home or shutil.which("java")):
        raise SettingsError(NO_JAVA)
    chosen = os.environ.get("PYSPARK_PYTHON")
    if chosen and not _same_python(chosen):
        _check_python(chosen)


def _same_python(chosen: str) -> bool:
    found = shutil.which(chosen)
    return found is not None and Path(found).absolute() == Path(sys.executable).absolute()


def _check_python(chosen: str) -> None:
    """Ask another interpreter which version it is, and whether it can import this package."""
    program = "import sys; print('%d.%d' % sys.version_info[:2]); import numpy, onnxruntime, pyarrow, recognizer"
    try:
        done = subprocess.run([chosen, "-c", program], capture_output=True, text=True, timeout=60, env=_worker_environment())
    except (OSError, subprocess.SubprocessError):
        raise SettingsError(f"PYSPARK_PYTHON is {chosen}, which does not run") from None
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    version = done.stdout.strip()
    if version != here:
        raise SettingsError(f"PYSPARK_PYTHON is {chosen}, Python {version or 'unknown'}; workers need the driver's, {here}")
    if done.returncode:
        raise SettingsError(
            f"PYSPARK_PYTHON is {chosen}, which cannot import recognizer and its packages: use {sys.executable}"
        )


def _package_root() -> str:
    import recognizer

    return str(Path(recognizer.__file__).absolute().parents[1])


def _worker_environment() -> dict[str, str]:
    """The environment in which workers find this package, which may be a checkout."""
    paths = [_package_root(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def is_running() -> bool:
    """Whether this process has a session of Spark already."""
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession() is not None


def open_session(master: str | None = None, options: Mapping[str, str] | None = None) -> SparkSession:
    """A session of Spark; the one that runs already, if there is one.

    Parameters
    ----------
    master : str, optional
        Such as ``local[4]``, ``local-cluster[2,1,1024]`` or ``spark://host:7077``. By default the one of ``spark-submit``, or
        all cores of this machine. In local mode tasks are tried again like elsewhere, unless the master says how often.
    options : mapping, optional
        More of Spark's configuration.

    Raises
    ------
    SettingsError
        pyspark or Java is missing, PYSPARK_PYTHON does not fit, or the session cannot be made.
    """
    require_spark()
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if master is None and not submitted:
        master = "local[*]"
    here = master is not None and master.startswith("local")
    if master is not None and re.fullmatch(r"local\[[^,]+\]", master):
        master = f"{master[:-1]},{_ATTEMPTS}]"
    builder = SparkSession.builder.appName("recognizer")
    if master is not None:
        builder = builder.master(master)
    defaults = {"spark.ui.enabled": "false", "spark.sql.execution.arrow.maxRecordsPerBatch": "64"}
    if here:
        # the workers are this machine's processes: this interpreter, this package, and nothing that others could connect to
        environment = _worker_environment()
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ["PYTHONPATH"] = environment["PYTHONPATH"]
        defaults |= {
            "spark.executorEnv.PYTHONPATH": environment["PYTHONPATH"],
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.extraJavaOptions": _JVM,
            "spark.executor.extraJavaOptions": _JVM,
            "spark.ui.showConsoleProgress": "false",
        }
    for name, value in {**defaults, **(options or {})}.items():
        builder = builder.config(name, value)
    try:
        session: SparkSession = builder.getOrCreate()
    except (PySparkException, RuntimeError, OSError) as error:
        raise SettingsError(f"Spark did not start: {str(error).splitlines()[0]}") from None
    if here:
        session.sparkContext.setLogLevel((options or {}).get("spark.log.level", "OFF"))
    return session


# -- what workers need -----------------------------------------------------------------------------------------------


def is_local(session: SparkSession) -> bool:
    """Whether the workers are processes of this machine, which see its files."""
    return str(session.sparkContext.master).startswith("local")


def distribute(session: SparkSession, files: Iterable[Path]) -> None:
    """Send files to every machine of a cluster; in local mode the workers see them where they are."""
    if not is_local(session):
        for file in files:
            session.sparkContext.addFile(str(file))


def distribute_weights(session: SparkSession, keys: Iterable[str], folder: Path) -> None:
    """Send weights to every machine of a cluster, for workers that have none."""
    from recognizer.weights import manifest

    distribute(session, [manifest.path(key, folder) for key in keys])


def distributed(file: Path) -> Path:
    """Where a worker finds a file of `distribute`."""
    if file.exists():
        return file
    from pyspark import SparkFiles

    return Path(SparkFiles.getRootDirectory(), file.name)


def weights_folder(keys: Sequence[str], folder: Path) -> Path:
    """The folder in which a worker finds weights: the driver's, or what `distribute_weights` sent.

    Raises
    ------
    ModelMissing
    """
    from recognizer.weights import manifest

    if all((folder / manifest.MANIFEST[key].file).exists() for key in keys):
        return folder
    from pyspark import SparkFiles

    sent = Path(SparkFiles.getRootDirectory())
    missing = [key for key in keys if not (sent / manifest.MANIFEST[key].file).exists()]
    if missing:
        raise ModelMissing(f"the weights {', '.join(missing)} are not on this worker: run `recognizer models fetch` there")
    return sent


# -- jobs -------------------------------------------------------------------------------------------------------------


def run_tasks(
    session: SparkSession, items: Sequence[ItemT], work: Callable[[ItemT], ResultT], report: Callable[[int], None]
) -> list[ResultT]:
    """The results of ``work(item)`` in order, a task for each item.

    Only the items go to the workers and only the results come back, without Spark's SQL: that is the cheapest job there is.

    Parameters
    ----------
    work : callable
        Pure enough to be done twice: a task is tried again when its worker dies.
    report : callable
        Called on this thread with the number of tasks that are done, while they run.

    Raises
    ------
    RecognizerError
        As a task raised it, after the last attempt.
    SettingsError
        A worker cannot run, or the job failed for another reason.
    """
    if not items:
        report(0)
        return []
    tasks = session.sparkContext.parallelize(items, len(items)).map(work)
    results: list[ResultT] = run_job(session, tasks.collect, lambda done, _: report(done))
    report(len(items))
    return results


def run_job(session: SparkSession, action: Callable[[], ResultT], report: Reporter) -> ResultT:
    """The result of an action of Spark, with progress in tasks on this thread. An interruption cancels the job.

    Raises
    ------
    RecognizerError, SettingsError
        As for `run_tasks`.
    """
    context = session.sparkContext
    group = f"recognizer-{secrets.token_hex(8)}"
    results: list[ResultT] = []
    failures: list[BaseException] = []

    def act() -> None:
        try:
            context.setJobGroup(group, "recognizer", interruptOnCancel=True)
            results.append(action())
        except BaseException as error:
            failures.append(error)

    from pyspark import inheritable_thread_target

    thread = threading.Thread(target=inheritable_thread_target(session)(act), name="spark-job", daemon=True)
    thread.start()
    shown = (-1, -1)
    try:
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            now = _progress(context, group)
            if now != shown and now[1]:
                report(*now)
                shown = now
    except BaseException:
        context.cancelJobGroup(group)
        thread.join(10.0)
        raise
    if failures:
        raise _translated(failures[0]) from None
    return results[0]


def _progress(context: Any, group: str) -> tuple[int, int]:
    """Tasks of the group's jobs that are done, and of all stages that are known."""
    tracker = context.statusTracker()
    done = total = 0
    for job in tracker.getJobIdsForGroup(group):
        info = tracker.getJobInfo(job)
        for stage in [] if info is None else info.stageIds:
            state = tracker.getStageInfo(stage)
            if state is not None:
                done, total = done + state.numCompletedTasks, total + state.numTasks
    return done, total


def _translated(error: BaseException) -> BaseException:
    """What a failed job says: the product's own error, a sentence on workers that cannot run, or Spark's first line."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    if not isinstance(error, (Py4JError, PySparkException)):
        return error
    text = str(error)
    if "No module named 'recognizer" in text:
        return SettingsError(_NOT_IN_WORKER)
    if "PYTHON_VERSION_MISMATCH" in text:
        return SettingsError("the Python of Spark's workers has another version than the driver's: set PYSPARK_PYTHON")
    raised = _raised(text)
    if raised is not None:
        return raised
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = next((line for line in lines if "Exception" in line or "Error" in line), lines[0] if lines else type(error).__name__)
    return SettingsError(f"the job failed: {told[:300]}")


def _raised(text: str) -> RecognizerError | None:
    """The error of this package at the end of a worker's traceback."""
    from recognizer.core import errors

    for line in reversed(text.splitlines()):
        name, colon, message = line.strip().partition(": ")
        kind = getattr(errors, name.rpartition(".")[2], None) if name.startswith("recognizer.core.errors.") else None
        if colon and isinstance(kind, type) and issubclass(kind, RecognizerError):
            return kind(message)
    return None
