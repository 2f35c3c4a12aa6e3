"""What the site has besides the pages of docs/: README, CONTRIBUTING, CHANGELOG, the pages of benchmarks/, the notebooks.

MkDocs calls these functions by name. Links in all of them are those of the repository, where a page outside of docs/ is
`../NAME` for one inside; here they become links of the site.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
HOME = "README.md"
OUTSIDE = (HOME, "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "NOTICE")
# A link's text may hold a picture, which has a link of its own.
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?(?=\))")


def list_outside() -> list[Path]:
    """Files outside of docs/ that the site has, each under its own path."""
    return (
        [ROOT / name for name in OUTSIDE] + sorted((ROOT / "benchmarks").glob("*.md")) + sorted((ROOT / "notebooks").glob("*"))
    )


def site_path(path: str) -> str:
    """Where a file of the repository stands in the site, both from their roots; of a folder it is the first file."""
    if (ROOT / path).is_dir():
        path = next((one for one in map(name_of, list_outside()) if one.startswith(f"{path}/")), path)
    return "index.md" if path == HOME else path.removeprefix("docs/")


def name_of(path: Path) -> str:
    """The path of a file from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def repository_path(path: str) -> str:
    """Where a page of the site stands in the repository, both from their roots."""
    if path == "index.md":
        return HOME
    return path if (ROOT / path).is_file() else f"docs/{path}"


def follow(page: str, link: str) -> str:
    """A relative link of a repository's page as a link of the site's, `page` being its path in the site."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(repository_path(page)), link))
    return posixpath.relpath(site_path(target), posixpath.dirname(page) or ".")


def on_config(config):
    """Names the pages that mkdocs.yml does not: others of docs/, and what was measured."""
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    more = sorted({page.name for page in (ROOT / "docs").glob("*.md")} - named)
    measured = [{page.stem.capitalize(): f"benchmarks/{page.name}"} for page in sorted((ROOT / "benchmarks").glob("*.md"))]
    config.nav += [{"More": more}] if more else []
    config.nav += [{"Measured": measured}]
    return config


def on_files(files, config):
    """Takes in the files outside of docs/."""
    for path in list_outside():
        files.append(File.generated(config, site_path(name_of(path)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns the repository's links into the site's."""
    here = page.file.src_uri
    return LINK.sub(lambda link: follow(here, link[1]) + (link[2] or ""), markdown)
