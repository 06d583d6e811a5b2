"""A model looks for a variable that is withheld from models: in its environment, and where Linux shows others'."""

import ast

from tests.hostile.channels.conftest import SECRET, Hostile

LOOKS = f"""
secret = "{SECRET[:7]}" + "{SECRET[7:]}"
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
    if b"MARK" in environ and b"POLYHOST_PROCESS" in environ:
        seen.append(name)
        if secret.encode() in environ:
            found.append(command.decode())
result = (found, len(seen), os.environ["SEEN"], "POLYHOST_WITHHOLD" in os.environ)
"""


def test_withheld_variable_is_nowhere(hostile: Hostile) -> None:
    code = LOOKS.replace("MARK", str(hostile.container.base_dir))

    found, seen, other, setting = ast.literal_eval(hostile.attack(code))

    assert found == []
    assert seen > 3, "the attack looks at the container's processes"
    assert (other, setting) == ("yes", True)
