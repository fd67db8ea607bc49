"""What ``mkdocs.yml`` adds to mkdocs: pages from elsewhere in the repository, the API's pages, their place in the menu.

README.md is the first page. Links between files of the repository, as a reader of the repository follows them, become
links between pages; one to a file that the site does not have is an error like any other link that leads nowhere.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()([^)#\s]+)")

_pages: dict[str, str] = {}  # by the file's path in the repository, the page's in the site


def on_files(files: Files, config) -> Files:
    """Add the pages."""
    _pages.clear()
    _pages.update({f"docs/{file.src_uri}": file.src_uri for file in files})
    files.remove(files.get_file_from_path("demo.md"))  # a table by itself, which others show
    examples = [file for name in ("README.md", "samples.md") for file in Path("examples").glob(f"**/{name}")]
    for source in (Path("README.md"), Path("CHANGELOG.md"), *sorted(examples)):
        page = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}.get(str(source), source.as_posix())
        _pages[source.as_posix()] = page
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    package = ROOT / "bang_plugin"
    for room in sorted(["errors", *(init.parent.name for init in package.glob("*/__init__.py"))]):
        text = f"# bang_plugin.{room}\n\n::: bang_plugin.{room}\n"
        files.append(File.generated(config, f"api/{room}.md", content=text))
    config.nav = [_folder(entry, files) for entry in config.nav]
    return files


def _folder(entry, files: Files):
    """A menu entry: of a folder its pages, at the end of a list the pages that the menu does not name."""
    [(title, value)] = entry.items()
    if isinstance(value, list):
        named = {*value, "index.md"}
        top = [file.src_uri for file in files.documentation_pages() if "/" not in file.src_uri]
        return {title: [*value, *(page for page in top if page not in named)]}
    if "." in value:
        return entry
    return {title: [file.src_uri for file in files.documentation_pages() if file.src_uri.startswith(f"{value}/")]}


def on_page_markdown(markdown: str, page, config, files: Files) -> str:
    """Turn links between files of the repository into links between pages."""
    here = next((source for source, uri in _pages.items() if uri == page.file.src_uri), None)
    if here is None:
        return markdown

    def link(found: re.Match) -> str:
        if ":" in found[2]:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found[2]))
        if target not in _pages:
            return found[0]
        return found[1] + posixpath.relpath(_pages[target], posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(link, markdown)
