"""Hooks of mkdocs (mkdocs.yml): pages and files outside of docs/ that pages link to join the site.

Links in pages are those of the repository, so that they work wherever the repository is read.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Optional

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPO = Path(__file__).resolve().parents[2]
PAGES = ("deploy/README.md", "deploy/cpp/README.md", "deploy/serving/README.md")
PAGES += ("CONTRIBUTING.md", "CHANGELOG.md")
"""Pages that stand beside their code."""
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds `PAGES`, and the files that any page links to."""
    for page in PAGES:
        files.append(File.generated(config, page, content=(REPO / page).read_text("utf-8")))
    known = {file.src_uri for file in files}
    for page in [file for file in files if file.is_documentation_page()]:
        for _, link in LINK.findall(page.content_string):
            path = repository_path(page.src_uri, link)
            if path and (REPO / path).is_file() and site_uri(path) not in known:
                known.add(site_uri(path))
                content = (REPO / path).read_bytes()
                files.append(File.generated(config, site_uri(path), content=content))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Turns links of the repository into links of the site; folders lose theirs."""
    here = posixpath.dirname(page.file.src_uri)

    def link_of_site(match: "re.Match[str]") -> str:
        path = repository_path(page.file.src_uri, match[2])
        if path is None:
            return match[0]
        if (REPO / path).is_dir():
            return match[1]
        anchor = "#" + match[2].partition("#")[2] if "#" in match[2] else ""
        return f"[{match[1]}]({posixpath.relpath(site_uri(path), here or '.')}{anchor})"

    return LINK.sub(link_of_site, markdown)


def repository_path(page: str, link: str) -> Optional[str]:
    """The file of the repository that `link` names on `page`; None for an address or an anchor."""
    target = link.partition("#")[0]
    if not target or re.match("[a-z]+:", target):
        return None
    folder = posixpath.dirname(page if page in PAGES else f"docs/{page}")
    return posixpath.normpath(posixpath.join(folder, target))


def site_uri(path: str) -> str:
    """Where a file of the repository stands on the site."""
    if path.startswith("docs/"):
        return path[len("docs/") :]
    return path if path in PAGES else f"source/{path}"
