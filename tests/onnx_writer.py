"""Writes small Keras models as ONNX, layer by layer, so that tests need no converter."""

from __future__ import annotations

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = keras.layers
_UNCHANGED = (LAYERS.Dropout, LAYERS.RandomFlip, LAYERS.RandomRotation, LAYERS.InputLayer)


class _Writer:
    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, values):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=np.float32), name))
        return name

    def whole(self, values):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=np.int64), name))
        return name

    def add(self, kind, inputs, **attributes):
        name = f"tensor{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def model(self, model, tensor):
        graph = model._functional if isinstance(model, keras.Sequential) else model
        values = {id(graph.inputs[0]): tensor}
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if not node.is_input:
                    given = [values[id(one)] for one in node.input_tensors]
                    values[id(node.output_tensors[0])] = self.layer(node.operation, given)
        return values[id(graph.outputs[0])]

    def layer(self, layer, given):
        (tensor, *_) = given
        if hasattr(layer, "_run_through_graph") or isinstance(layer, keras.Sequential):
            return self.model(layer, tensor)
        if isinstance(layer, _UNCHANGED):
            return tensor
        if isinstance(layer, LAYERS.Rescaling):
            scaled = self.add("Mul", [tensor, self.constant(layer.scale)])
            return self.add("Add", [scaled, self.constant(layer.offset)])
        if isinstance(layer, LAYERS.Add):
            return self.add("Add", given)
        if isinstance(layer, LAYERS.ZeroPadding2D):
            (top, bottom), (left, right) = layer.padding
            return self.add("Pad", [tensor, self.whole([0, 0, top, left, 0, 0, bottom, right])])
        if isinstance(layer, LAYERS.ReLU):
            return self.add("Clip", [tensor, self.constant(0), self.constant(layer.max_value)])
        if isinstance(layer, LAYERS.BatchNormalization):
            values = [self.constant(v) for v in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)]
            return self.add("BatchNormalization", [tensor, *values], epsilon=layer.epsilon)
        if isinstance(layer, LAYERS.GlobalAveragePooling2D):
            return self.add("Flatten", [self.add("GlobalAveragePool", [tensor])])
        if isinstance(layer, LAYERS.Dense):
            product = self.add("Gemm", [tensor, self.constant(layer.kernel), self.constant(layer.bias)])
            return self.activated(product, layer)
        assert isinstance(layer, LAYERS.Conv2D | LAYERS.DepthwiseConv2D), layer
        kernel = np.asarray(layer.kernel)
        depthwise = isinstance(layer, LAYERS.DepthwiseConv2D)
        weights = [tensor, self.constant(kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)))]
        weights += [self.constant(layer.bias)] if layer.use_bias else []
        padding = {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding]
        group = kernel.shape[2] if depthwise else 1
        return self.activated(self.add("Conv", weights, auto_pad=padding, strides=layer.strides, group=group), layer)

    def activated(self, tensor, layer):
        kind = {"linear": "", "relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax"}[layer.activation.__name__]
        return self.add(kind, [tensor]) if kind else tensor


def write_onnx(model, path, *, channels_first=True, batch="n", size=None, dtype=TensorProto.FLOAT):
    """Write a Keras model as ONNX.

    Args:
        model: functional or Sequential, channels last.
        path: the file.
        channels_first: whether the file takes (N, C, H, W).
        batch: the number of images in one pass, or a name for any.
        size: (height, width) of the file's input; None = the model's.
        dtype: the type of its input.
    """
    _, height, width, channels = model.input_shape
    height, width = size or (height, width)
    writer, tensor = _Writer(), "image"
    if dtype != TensorProto.FLOAT:
        tensor = writer.add("Cast", [tensor], to=TensorProto.FLOAT)
    if not channels_first:
        tensor = writer.add("Transpose", [tensor], perm=[0, 3, 1, 2])
    end = writer.model(model, tensor)
    shape = [batch, channels, height, width] if channels_first else [batch, height, width, channels]
    graph = helper.make_graph(
        writer.nodes,
        "written",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info(end, TensorProto.FLOAT, [batch, model.output_shape[1]])],
        writer.constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
