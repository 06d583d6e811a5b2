"""A Python to which the modes of files apply, as to a plain user's, also where the tests run as root."""

# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH leave the bounding set (prctl(2), PR_CAPBSET_DROP), and with the exec this
# process. A plain user has neither.
_DROP = """
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

HEEDING_MODES = ("-c", _DROP)
"""Python's first arguments; what it is to run follows."""
