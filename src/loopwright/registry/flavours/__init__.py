"""Flavours: adapters of model libraries, one file each; plugins of kind ``flavours``. None ever loads a pickle."""

from loopwright.kernel.plugins import add_built_in

add_built_in(
    "flavours",
    {
        "lightgbm": "loopwright.registry.flavours.lightgbm:LightGbmFlavour",
        "sklearn": "loopwright.registry.flavours.sklearn:SklearnFlavour",
        "onnx": "loopwright.registry.flavours.onnx:OnnxFlavour",
        "constant": "loopwright.registry.flavours.constant:ConstantFlavour",
    },
)
