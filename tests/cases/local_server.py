"""A web server of this process, for tests of downloads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler], site: object) -> Iterator[str]:
    """Serve what the handler makes of its ``site`` while the block runs; give the address, as ``http://127.0.0.1:80``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (handler,), {"site": site}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
