"""Codecs: how a value passes between steps. A plugin of kind ``codecs`` each, one file each; never a pickle.

The worker hands its table of plugins to every child process. A room adds a codec with
``add_built_in("codecs", {"model": "loopwright.<room>.<module>:ModelCodec"})`` in a module the worker imports.
"""

from loopwright.kernel.plugins import add_built_in
from loopwright.pipelines.codecs.base import Codec, Files, decode, encode

add_built_in(
    "codecs",
    {
        "json": "loopwright.pipelines.codecs.json:JsonCodec",
        "frame": "loopwright.pipelines.codecs.frame:FrameCodec",
    },
)

__all__ = ["Codec", "Files", "decode", "encode"]
