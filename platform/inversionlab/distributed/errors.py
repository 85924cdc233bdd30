"""Why an audit or its workers give up. Whoever catches these errors need not import Ray."""


class ActorPoolError(RuntimeError):
    """Workers die as fast as they are started."""


class ClusterError(RuntimeError):
    """Ray could not be started, or its cluster does not answer."""


class AuditError(RuntimeError):
    """Some work items failed; the text names them, and everything else is stored."""

    exit_code = 1

    def __init__(self, text: str, run: str) -> None:
        """Take the text and the name of the run's folder."""
        super().__init__(text)
        self.run = run


class BudgetSpentError(AuditError):
    """The endpoint's budget of queries did not suffice; what was found until then is stored."""

    exit_code = 3
