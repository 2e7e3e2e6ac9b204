"""Contracts about data that others keep: a dataset told in their words, and theirs read in ours.

Written is the Open Data Contract Standard; read are that, schemas of pandera and suites of Great Expectations.
"""

from loopwright.data.contracts.documents import MOST_BYTES, read_document, write_yaml
from loopwright.data.contracts.exporting import to_contract
from loopwright.data.contracts.project_lines import project_lines
from loopwright.data.contracts.reading import read_contract
from loopwright.data.contracts.translation import LeftOut, Taken, Translation

__all__ = [
    "MOST_BYTES",
    "LeftOut",
    "Taken",
    "Translation",
    "project_lines",
    "read_contract",
    "read_document",
    "to_contract",
    "write_yaml",
]
