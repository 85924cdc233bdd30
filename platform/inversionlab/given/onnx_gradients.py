"""An ONNX model as a PyTorch module: onnx2torch, after operators that it does not know were written in older ones.

onnx2torch stops at operator set 17, while today's exporters write 18 and above. Most of the newer forms differ
in nothing that a network for pictures uses. So they are written in the older form, and what has a definition in
other operators (Gelu, GroupNormalization) is replaced by it. Whether the result is the same model is not decided
here: `onnx_model.py` compares its answers with those of onnxruntime.
"""

from typing import Any

from torch import nn

NEWEST = 17
"""The operator set whose operators onnx2torch knows."""


class NotConvertibleError(Exception):
    """The model has no PyTorch form; the text says which operator is the reason."""


def to_module(model: Any) -> nn.Module:
    """The module of an ONNX model (a ModelProto), in evaluation mode.

    Raises:
        NotConvertibleError: an operator is not supported, or not with these attributes.
    """
    import onnx
    from onnx import inliner
    from onnx2torch import convert

    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    if unknown := unsupported(_in_older_operators(plain)):
        functions = [("", operator) for operator in sorted(unknown)]
        try:
            # The definitions are looked up in the set that the model was written in.
            plain = inliner.inline_selected_functions(
                model, functions, inline_schema_functions=True
            )
        except Exception as error:  # onnx raises errors of its own kinds
            raise NotConvertibleError(_named(unknown)) from error
        if unknown := unsupported(_in_older_operators(plain)):
            raise NotConvertibleError(_named(unknown))
    try:
        module: nn.Module = convert(plain)
        return module.eval()
    except Exception as error:  # converters assert, and raise errors of a dozen kinds
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise NotConvertibleError(f"onnx2torch cannot convert it ({why})") from error


def _named(operators: set[str]) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(operators))
    return f"onnx2torch does not support the operator{'s' * (len(operators) > 1)} {names}"


def unsupported(model: Any) -> set[str]:
    """The operators of an ONNX model that onnx2torch does not know."""
    from onnx2torch.node_converters import get_converter

    sets = {entry.domain: entry.version for entry in model.opset_import}
    unknown = set()
    for node in model.graph.node:
        try:
            get_converter(node.op_type, sets.get(node.domain, 1), node.domain)
        except NotImplementedError:
            unknown.add(f"{node.domain}.{node.op_type}".lstrip("."))
    return unknown


def _in_older_operators(model: Any) -> Any:
    """Write newer forms of operators as those of set 17, in place; what cannot be written so stays."""
    import onnx
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    # Exporters store equal weights once, and name them again by Identity; converters want the weights themselves.
    same = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in constants
    }
    for node in model.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum":
            if len(node.input) == 2 and node.input[1] in constants:
                axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
                del node.input[1]
                node.attribute.append(onnx.helper.make_attribute("axes", axes))
        elif node.op_type == "Reshape" and "allowzero" in attributes:
            # It changes the meaning of a 0 in the shape alone.
            shape = constants.get(node.input[1])
            if shape is not None and 0 not in numpy_helper.to_array(shape):
                node.attribute.remove(attributes["allowzero"])
        elif node.op_type == "CastLike":
            # Definitions of operators cast their constants so; the networks in question compute in float32.
            del node.input[1]
            node.op_type = "Cast"
            node.attribute.append(onnx.helper.make_attribute("to", onnx.TensorProto.FLOAT))
    for entry in model.opset_import:
        if entry.domain == "":
            entry.version = min(entry.version, NEWEST)
    return model
