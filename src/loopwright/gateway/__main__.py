"""``python -m loopwright.gateway``."""

from loopwright.gateway.process import main

main()
