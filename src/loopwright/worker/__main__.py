"""Entry point of ``python -m loopwright.worker``."""

from loopwright.worker.process import main

main()
