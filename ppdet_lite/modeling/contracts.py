"""What backbones and necks are to the parts around them, whatever family they come from.

The classes say to a configuration what may stand where. A part of your own need not derive from
them, only keep to what they say.
"""

from paddle import nn


class Backbone(nn.Layer):
    """Images [B, 3, H, W] to feature maps, finest first.

    Attributes:
        out_shape: `ShapeSpec` of every returned map.
    """


class Neck(nn.Layer):
    """Feature maps of a backbone to those of a head, in the order that the detector's head takes.

    Its `from_config` takes `input_shape`, the `out_shape` of the backbone.

    Attributes:
        out_shape: `ShapeSpec` of every returned map.
    """
