"""The tutorial's blocks in the order of its pages, for tutorial.mjs, which does what they say. Argument: `folder`, `command`, `chromium` and
`node`, as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys

from page import blocks

HERE = pathlib.Path(__file__).resolve().parent
TUTORIAL = HERE.parent.parent / "docs/tutorial"


def pages() -> list[pathlib.Path]:
    """In the order in which the first page lists them."""
    first = TUTORIAL / "README.md"
    return [first, *(TUTORIAL / name for name in re.findall(r"^\d+\. \[.*?\]\((.*?)\)", first.read_text(), re.MULTILINE))]


if __name__ == "__main__":
    about = json.loads(sys.argv[1])
    steps = [
        {"place": f"{page.name}:{block.line}", "words": block.words, "text": block.text}
        for page in pages()
        for block in blocks(page)
        if block.words
    ]
    file = pathlib.Path(about["folder"]) / "steps.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(steps))
    node = about.pop("node")
    os.execvp(node[0], [*node, str(HERE / "tutorial.mjs"), json.dumps({**about, "steps": str(file)})])
