"""``python -m gotong``: the same command line as ``gotong``."""

from __future__ import annotations

from gotong.cli import main

if __name__ == "__main__":
    main()
