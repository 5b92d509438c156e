"""What a benchmark says: lines for a person, the same as JSON for a program, and the misses found on the way."""

from __future__ import annotations

import json


class Record:
    """Lines for a person, the same as JSON for a program, and the misses found on the way."""

    def __init__(self, path: str | None):
        self._file = open(path, "w") if path else None  # noqa: SIM115 (closed in `finish`)
        self.misses: list[str] = []

    def line(self, benchmark: str, text: str, **facts: object) -> None:
        print(f"{benchmark:<34} {text}", flush=True)
        if self._file:
            self._file.write(json.dumps({"benchmark": benchmark, **facts}, default=float) + "\n")
            self._file.flush()

    def expect(self, good: bool, sentence: str) -> None:
        if not good:
            self.misses.append(sentence)
            print(f"{'':<34} MISS: {sentence}", flush=True)

    def finish(self) -> int:
        if self._file:
            self._file.close()
        print(f"\n{len(self.misses)} quality misses" if self.misses else "\nno quality miss")
        return 1 if self.misses else 0
