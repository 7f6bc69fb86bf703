"""Serving: gunicorn as we run it (`server`), and how its workers share the connections (`worker`)."""

import sys

# structlog loads rich wherever it finds it, to colour traces on a terminal: 5 MiB in every worker, for nothing.
# None says "there is no such module".
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
