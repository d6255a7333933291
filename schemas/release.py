"""``python -m schemas.release``: keep the text of every changed schema as its next version.

A released version is never edited: readers of stored records need it.
"""

from __future__ import annotations

import json

from schemas.catalog import RELEASED, TOPIC_RECORDS, released, shipped


def main() -> None:
    """Write what is new into schemas/released and say so."""
    for name in TOPIC_RECORDS:
        versions = released(name)
        current = json.loads(shipped(name).text)
        if versions and json.loads(versions[-1][1]) == current:
            continue
        number = versions[-1][0] + 1 if versions else 1
        folder = RELEASED / name
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(current, indent=1, ensure_ascii=False) + "\n"
        (folder / f"{number}.avsc").write_text(text)
        print(f"{name} {number}")  # noqa: T201 a command's output


if __name__ == "__main__":
    main()
