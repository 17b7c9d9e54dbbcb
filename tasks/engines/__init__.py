"""Where shards run, by configuration: threads of this process, processes of this machine, or a cluster.

An engine gets a function and its arguments, and returns when the work is done. What travels to another
process are configurations and keys only: models and data are read from the store there.
"""

from mmer_core.config import RuntimeConfig
from tasks.engines.dask import DaskEngine, require_dask
from tasks.engines.engine import Engine
from tasks.engines.ray import RayEngine
from tasks.engines.threads import ThreadsEngine

__all__ = ["Engine", "ThreadsEngine", "check_engine", "open_engine"]


def open_engine(runtime: RuntimeConfig) -> Engine:
    """The configured engine; connections and processes are made once and serve all that comes after.

    Raises:
        ConfigError: Its package is not installed.
        EngineError: The cluster cannot be reached.
    """
    match runtime.engine:
        case "threads":
            return ThreadsEngine(runtime)
        case "ray":
            return RayEngine.open(runtime)
        case _:
            return DaskEngine.open(runtime)


def check_engine(runtime: RuntimeConfig) -> None:
    """Notice before any work is done that a package is missing or that a cluster does not answer.

    Raises:
        ConfigError: The engine's package is not installed.
        EngineError: The cluster cannot be reached.
    """
    if runtime.engine == "processes":  # opening them starts them, and perhaps there is nothing for them to do
        require_dask()
    else:
        open_engine(runtime)
