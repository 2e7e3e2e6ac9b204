"""Profiles: what is known of a column's values once they are counted, such that the counts of parts add up.

The same struct describes a dataset's columns, the rows of a reference, of a window and of a chunk of the log. Numbers
fall into bins that the first profile freezes, texts into its commonest values; profiles in the same bins merge in any
order and grouping, to the bit.
"""

from loopwright.data.profiles.columns import BINS, CATEGORIES, Bins, ColumnProfile, Profile
from loopwright.data.profiles.counting import place_rows, profile_column, profile_frame, profile_like
from loopwright.data.profiles.distinct import EXACT_DISTINCT, Distinct
from loopwright.data.profiles.merging import merge
from loopwright.data.profiles.spread import Spread
from loopwright.data.profiles.stored import decode, from_bytes, to_bytes, upgrade_profile

__all__ = [
    "BINS",
    "CATEGORIES",
    "EXACT_DISTINCT",
    "Bins",
    "ColumnProfile",
    "Distinct",
    "Profile",
    "Spread",
    "decode",
    "from_bytes",
    "merge",
    "place_rows",
    "profile_column",
    "profile_frame",
    "profile_like",
    "to_bytes",
    "upgrade_profile",
]
