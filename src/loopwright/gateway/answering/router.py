"""Which variant answers: a stable number for each caller, compared with the release's weights."""

import hashlib
from collections.abc import Sequence

from loopwright.serving import CHAMPION, Variant

_RANGE = float(1 << 64)


def bucket_of(deployment: str, seed: str, key: str) -> float:
    """Return the traffic bucket of a key, in ``[0, 1)``: the first 8 bytes of BLAKE2b over deployment, seed and key.

    The same key has the same bucket in every release, so it stays on its variant while weights grow.
    """
    digest = hashlib.blake2b(f"{deployment}\0{seed}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / _RANGE


class Router:
    """Splits ``[0, 1)`` among the variants that answer; others take the lowest buckets, the champion the rest.

    Args:
        variants: Those of a release; shadows take no traffic.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        live = [(index, variant) for index, variant in enumerate(variants) if not variant.is_shadow]
        live = [item for item in live if item[1].weight > 0] or live[:1]
        live.sort(key=lambda item: (item[1].name == CHAMPION, item[1].name))
        self.live = [place for place, _ in live]
        self._bounds: list[tuple[float, int]] = []
        share = 0.0
        for place, variant in live[:-1]:
            share += variant.weight
            self._bounds.append((share, place))

    def pick(self, bucket: float) -> int:
        """Return the place of the variant that answers a bucket."""
        for share, place in self._bounds:
            if bucket < share:
                return place
        return self.live[-1]
