"""Run the container's entry point as in a pod: python read_only.py MODELS STATE TMP VAR_TMP serve.

In mounts of its own: a read-only root, and the four folders where the chart mounts them. Without capabilities.
Needs root.
"""

import os
import sys
from pathlib import Path

ENTRY_POINT = Path(__file__).parents[3] / "container" / "image" / "dockerd-entrypoint.py"
SCRIPT = """
set -eu
models=$1 state=$2 tmp=$3 var_tmp=$4
shift 4
# Places for the mounts, which this machine need not have.
mkdir "$state/opt" "$state/lib" "$state/polyhost"
mkdir -p "$state/opt/ml/models" "$state/lib/polyhost"
mount --bind "$models" "$state/opt/ml/models"
mount --bind "$state/polyhost" "$state/lib/polyhost"
mount --rbind "$state/opt" /opt
mount --rbind "$state/lib" /var/lib
mount --bind "$var_tmp" /var/tmp
mount --bind "$tmp" /tmp
while read -r _ _ _ _ point _; do
    case $point in
        /proc* | /sys* | /dev* | /tmp | /var/tmp | /var/lib/polyhost) ;;
        *) mount -o remount,bind,ro "$point" 2>/dev/null || true ;;  # one that another hides
    esac
done </proc/self/mountinfo
for folder in / /opt/ml/models /var/lib /usr; do
    if touch "$folder/writable" 2>/dev/null; then echo "$folder can be written to" >&2; exit 3; fi
done
cd /
exec setpriv --no-new-privs --bounding-set -all --inh-caps -all -- "$@"
"""

if __name__ == "__main__":
    folders, command = sys.argv[1:5], sys.argv[5:]
    arguments = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", SCRIPT, "pod", *folders]
    os.execvp(arguments[0], [*arguments, sys.executable, str(ENTRY_POINT), *command])
