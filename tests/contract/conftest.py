"""The applied project and who imports, as the tests of the loop have them."""

from tests.loop.conftest import importer, loop

__all__ = ["importer", "loop"]
