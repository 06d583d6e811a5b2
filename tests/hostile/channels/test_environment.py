"""A model looks for a variable that is withheld from models: in its environment, and where Linux shows others'."""

import ast

from tests.hostile.channels.parties import SECRET, Parties

LOOKS = f"""
secret = "{SECRET[:7]}" + "{SECRET[7:]}"
mark = b"SEEN=" + os.environ["SEEN"].encode()
found = []
if secret in str(dict(os.environ)) or secret in subprocess.run(["env"], capture_output=True, text=True).stdout:
    found.append("environ")
seen = []
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        command = open(f"/proc/{{name}}/cmdline", "rb").read()
        environ = open(f"/proc/{{name}}/environ", "rb").read()
    except OSError:
        continue
    if mark in environ:
        seen.append(name)
        if secret.encode() in environ:
            found.append(command.decode())
result = (found, len(seen), "POLYHOST_WITHHOLD" in os.environ)
"""


def test_withheld_variable_is_nowhere(hostile: Parties) -> None:
    assert check_that_it_is_nowhere(hostile) > 3, "the attack looks at the container's processes"


def check_that_it_is_nowhere(parties: Parties) -> int:
    """Check that the attack finds nothing; return how many of the container's processes show it their environment."""
    found, seen, setting = ast.literal_eval(parties.attack(LOOKS))

    assert found == []
    assert setting
    return int(seen)
