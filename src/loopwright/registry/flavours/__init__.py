"""Flavours: adapters of model libraries, one file each; plugins of kind ``flavours``. None ever loads a pickle."""

from loopwright.kernel.plugins import add_built_in

FLAVOURS = "flavours"
"""Plugin kind of adapters of libraries: taken from here by whoever asks for one, so that the platform's are known."""
add_built_in(
    FLAVOURS,
    {
        "lightgbm": "loopwright.registry.flavours.lightgbm:LightGbmFlavour",
        "sklearn": "loopwright.registry.flavours.sklearn:SklearnFlavour",
        "onnx": "loopwright.registry.flavours.onnx:OnnxFlavour",
        "constant": "loopwright.registry.flavours.constant:ConstantFlavour",
    },
)
