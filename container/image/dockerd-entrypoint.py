"""The image's ENTRYPOINT, at the place and under the name that containers of this kind have."""

import sys

from polyhost.container.main import main

sys.exit(main(sys.argv[1:]))
