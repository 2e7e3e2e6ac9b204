"""User code by name: a digest of packed files and ``module:qualname``; never pickled."""

import msgspec

from loopwright.kernel.digests import Digest


class CodeRef(msgspec.Struct, frozen=True):
    """One function of a packed project.

    ``digest`` names the code blob (a zip of the project's files), ``module`` and ``qualname`` the function in it;
    ``function_digest`` covers the function's syntax tree and the project functions it names, so that an unrelated edit
    does not change it.
    """

    digest: Digest
    module: str
    qualname: str
    function_digest: Digest
