"""``python -m loopwright.server``."""

from loopwright.server.process import main

main()
