"""Ask the London data federation: answers as data frames that keep their marks and statement."""

from .answer import Answer
from .connection import Connection, Refused, connect
from .marks import Marks

__all__ = ["Answer", "Connection", "Marks", "Refused", "connect"]
