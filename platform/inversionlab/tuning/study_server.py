"""optuna-dashboard on the file of a study, as a program of its own: `... FILE --host H --port P`.

A search that runs replaces its file whenever trials have ended. The dashboard's own command would keep the old
file open, so this one opens the file anew for every look. Nothing is written.
"""

import argparse
from urllib.parse import quote


def main() -> None:
    """Serve until the process is ended."""
    import optuna
    import optuna_dashboard
    from sqlalchemy.pool import NullPool

    asked = argparse.ArgumentParser()
    asked.add_argument("file")
    asked.add_argument("--host", default="127.0.0.1")
    asked.add_argument("--port", type=int, required=True)
    given = asked.parse_args()
    storage = optuna.storages.RDBStorage(
        f"sqlite:///file:{quote(given.file)}?mode=ro&uri=true",
        engine_kwargs={"poolclass": NullPool, "connect_args": {"check_same_thread": False}},
    )
    optuna_dashboard.run_server(storage, host=given.host, port=given.port)


if __name__ == "__main__":
    main()
