"""What stands in README and docs/: blocks of commands and of Python, code in sentences, links, headings."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "benchmarks").glob("*.md"))]
PROGRAMS = {"train.py": ["train"], "infer.py": ["infer"], "centerkp": []}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_ASSIGNMENT = re.compile(r"\w+=\S*")


def name_of(path: Path) -> str:
    """A page by its path from the root."""
    return path.relative_to(ROOT).as_posix()


def read_blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return [text for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def read_commands(page: Path) -> list[str]:
    """The lines of a page's blocks of commands, those that go on joined, comments left out."""
    lines = "\n".join(read_blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"(^|\s+)#\s.*$", "", line).strip() for line in lines) if line]


def own_words(command: str) -> list[str] | None:
    """The words that `centerkp` is given by a command; None for a command of somebody else."""
    command = re.sub(r"^docker run .* centerkp\S* (?=\w)", "centerkp ", command)  # an image whose entry is the command
    words = shlex.split(command.partition(" > ")[0])
    while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] in ("python", "srun", "-m")):
        words = words[1:]
    return [*PROGRAMS[words[0]], *words[1:]] if words and words[0] in PROGRAMS else None


def read_prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def read_code(page: Path) -> list[str]:
    """The code in the sentences and tables of a page."""
    return [code.replace("\\|", "|") for code in re.findall(r"`([^`\n]+)`", read_prose(page))]


def read_links(page: Path) -> list[str]:
    """Relative links and pictures of a page."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", read_prose(page)))
    return [link for link in found if not re.match(r"\w+:", link)]


def read_anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the repository's pages have them."""
    titles = re.findall(r"^#+ (.*)$", read_prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", title)).lower().replace(" ", "-") for title in titles}
