"""The real command line in a process of its own."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import fairbrush as package
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.errors import CacheError

PACKAGE = Path(package.__file__).parent
GALLERY = PACKAGE / "data" / "gallery" / "references"
LIMIT_S = 180


@dataclass(frozen=True)
class Ran:
    """What a finished command left: its exit code, its answer and its talk."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def text(self) -> str:
        return self.stdout.decode()


class Fairbrush:
    """Runs ``python -m fairbrush`` from the folder ``home``, which is also the user's home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.mark = uuid4().hex

    def __call__(self, *arguments: Any, **options: Any) -> Ran:
        """Run to the end. A traceback is never an answer to a user."""
        process = self.start(*arguments, **options)
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        talk = (stderr or b"").decode(errors="surrogateescape")
        assert "Traceback" not in talk, talk
        return Ran(process.returncode, stdout or b"", talk)

    def start(
        self,
        *arguments: Any,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        program: tuple[str, ...] = ("-m", "fairbrush"),
        **popen: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, as a terminal would."""
        return subprocess.Popen(
            [sys.executable, *program, *map(os.fspath, arguments)],
            cwd=cwd or self.home,
            env=self._environment(env or {}),
            start_new_session=True,
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **popen,
            },
        )

    def processes(self) -> list[int]:
        """Every living process that descends from a command started here, Linux only."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def _environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FAIRBRUSH_")}
        path = [changes.get("PYTHONPATH", ""), str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
        own = {"HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / ".cache"), "TEST_MARK": self.mark}
        return {
            "OMP_NUM_THREADS": "1",
            **kept,
            **own,
            **changes,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
        }


def copy_art(home: Path) -> list[Path]:
    """Four images of the bundled gallery in ``home/art``, in the order a search finds them."""
    folder = home / "art"
    folder.mkdir()
    works = sorted(GALLERY.rglob("*.webp"))[::97][:4]
    return [Path(shutil.copy(work, folder / f"{n}.webp")) for n, work in enumerate(works, start=1)]


REFUSE_SOCKETS = """
import socket
def refuse(*arguments, **options):
    raise AssertionError(f"network at run time: {arguments}")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.getaddrinfo = socket.create_connection = refuse
"""


def without_network(folder: Path) -> dict[str, str]:
    """The environment in which a command that opens a socket fails."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(REFUSE_SOCKETS)
    return {"PYTHONPATH": str(site)}


def rows_in(cache: Path) -> int:
    """How many images the cache holds now, over all encoders."""
    with contextlib.suppress(CacheError), EmbeddingCache.open(cache, readonly=True) as opened:
        return sum(space.images for space in opened.info().spaces)
    return 0


def wait_until(is_so: Callable[[], bool], *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.02)
