"""What operators change by the command line, in the audit log beside what callers of the API change."""

import os
import pwd
import socket
import sys
from datetime import UTC, datetime

from app.audit import Change, Operator, change_record
from app.audit_log import AuditFile, AuditLog, open_audit_log
from app.settings import Settings


def audit(settings: Settings, change: Change) -> None:
    """Once it is committed; a record that cannot be written is told in the log.

    Where the audit log is standard output this goes to standard error: the other is the command's answer.
    """
    log: AuditLog
    if settings.audit_log == "stdout":
        log = AuditFile(None, sys.stderr)
    else:
        log = open_audit_log(settings.audit_log, settings.data_dir)
    log.write(change_record(change, Operator(user(), socket.gethostname()), settings.region, datetime.now(UTC)))
    log.close()


def user() -> str:
    """By name, where the machine knows one."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
