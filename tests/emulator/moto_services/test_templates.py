"""moto's own reading of templates, which is made safe in known places."""

import re
from pathlib import Path

import moto


def test_moto_loads_yaml_unsafely_in_known_places_only() -> None:
    """Fail if a new version of moto has another place that `use_safe_loader` does not know."""
    folder = Path(moto.__file__).parent
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if re.search(r"yaml\.(load|load_all|full_load|unsafe_load)\(|\b(Unsafe|Full)?Loader\)", path.read_text())
    }
    assert found == {"cloudformation/models.py", "cloudformation/responses.py"}
