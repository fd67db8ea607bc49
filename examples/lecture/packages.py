"""What others have made and npm keeps: reveal.js, and a font with Chinese; fetched once, then read from a cache."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from bang_plugin.errors import BangError

from ..workspace import whole

REVEAL = ("reveal.js@6.0.2", ("dist/reveal.js", "dist/reveal.css", "dist/reset.css", "dist/plugin/notes.js", "LICENSE"))
FONT_FILE = "files/noto-sans-sc-chinese-simplified-400-normal.woff"
NOTO = ("@fontsource/noto-sans-sc@5.3.0", (FONT_FILE, "LICENSE"))


def cache() -> Path:
    """Where fetched files lie: ``$XDG_CACHE_HOME/bang_plugin``, by default ``~/.cache/bang_plugin``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bang_plugin"


def fetched(package: tuple[str, tuple[str, ...]]) -> Path:
    """The folder with a package's files, fetched by npm unless they are there.

    Raises:
        BangError: if they are not and npm is missing or fails.
    """
    name, files = package
    folder = cache() / name.replace("/", "+")
    if folder.is_dir():
        return folder
    ask = f"{name} is not in {folder} yet"
    if not shutil.which("npm"):
        raise BangError(f"{ask}, and there is no npm to fetch it: install Node.js (apt-get install npm), once")
    print(f"npm pack {name} …", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(["npm", "pack", "--silent", name], cwd=temporary, capture_output=True, text=True)
        packed = list(Path(temporary).glob("*.tgz"))
        if done.returncode or not packed:
            said = (done.stderr.strip() or "no package came").splitlines()[0]
            raise BangError(f"{ask}, and npm could not fetch it ({said[:200]}): run this once where npm has a registry")
        with tarfile.open(packed[0]) as archive, whole(folder) as part:
            for file in files:
                content = archive.extractfile(f"package/{file}")
                if content is None:
                    raise BangError(f"{name}: no {file} in it")
                target = part / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    return folder
