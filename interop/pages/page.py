"""Owns what a page of the documentation has for a machine: its code blocks, with the words behind the language, in order. Knows nothing
of what is done with them.

    ```python file=live.py      a file
    ```sh run                   a word that says what to do with the block
    <!-- see nginx: chat -->    nothing that a reader sees: what has to be so at this place
    <!-- stop listener -->      the same: Ctrl-C in a terminal
"""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass, field


@dataclass
class Block:
    """A code block. `line` is where it begins; of ```` ```sh run as=server ```` the words are `{"run": "", "as": "server"}`."""

    line: int
    language: str
    words: dict[str, str]
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def blocks(page: pathlib.Path) -> list[Block]:
    """All blocks of a page. Raises `ValueError` if one is not closed."""
    found: list[Block] = []
    block: Block | None = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if block is None:
            if line.startswith("```"):
                language, *words = line[3:].split() or [""]
                block = Block(number, language, dict(word.partition("=")[::2] for word in words))
            elif hidden := re.fullmatch("<!-- (see|stop) (.*) -->", line):
                found.append(Block(number, "", {hidden[1]: hidden[2]}))
        elif line == "```":
            found.append(block)
            block = None
        else:
            block.lines.append(line)
    if block is not None:
        raise ValueError(f"{page}:{block.line}: a code block that does not end")
    return found


def write_files(page: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """Writes the page's files into a folder, and answers their names."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [block for block in blocks(page) if "file" in block.words]
    for block in files:
        (folder / block.words["file"]).write_text(block.text)
    return [block.words["file"] for block in files]


def command(page: pathlib.Path, word: str) -> str:
    """The one command of the page's one block with this word."""
    (block,) = [block for block in blocks(page) if word in block.words]
    (line,) = block.lines
    return line
