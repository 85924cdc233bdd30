from inversionlab.api.auditing import audit as audit
from inversionlab.api.inversion import invert as invert
from inversionlab.api.inverted import Inverted as Inverted
from inversionlab.api.report import Report as Report
from inversionlab.api.report import load_report as load_report
from inversionlab.core.settings import ConfigError as ConfigError
from inversionlab.distributed.errors import AuditError as AuditError

__all__ = [
    "AuditError",
    "ConfigError",
    "Inverted",
    "Report",
    "__version__",
    "audit",
    "invert",
    "load_report",
]

__version__: str
