"""The blocks of pages, in order, for reader.mjs, which does what they say. Argument: `pages` (their paths from the repository's root; of a folder, the pages
that its README lists), `folder`, `command`, `chromium`, `node` and, if pages need packages, `node_modules`, as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys

from page import blocks

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def in_order(page: pathlib.Path) -> list[pathlib.Path]:
    if not page.is_dir():
        return [page]
    first = page / "README.md"
    return [first, *(page / name for name in re.findall(r"^\d+\. \[.*?\]\((.*?)\)", first.read_text(), re.MULTILINE))]


if __name__ == "__main__":
    about = json.loads(sys.argv[1])
    steps = [
        {"place": f"{page.name}:{block.line}", "words": block.words, "text": block.text}
        for path in about.pop("pages")
        for page in in_order(ROOT / path)
        for block in blocks(page)
        if block.words
    ]
    file = pathlib.Path(about["folder"]) / "steps.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(steps))
    node = about.pop("node")
    os.execvp(node[0], [*node, str(HERE / "reader.mjs"), json.dumps({**about, "steps": str(file)})])
