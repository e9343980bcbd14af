"""relpos as an operator of PyTorch against the attention of inference runtimes on the CPU, causal, forward only, in
float32, on one thread:

  ORT Attention    ONNX Runtime, the operator Attention of ONNX; a bias is a matrix
  ORT GQA          ONNX Runtime, its own GroupQueryAttention, which has no bias
  OpenVINO SDPA    ScaledDotProductAttention with float32 as precision; a bias is a matrix
  ggml flash       ggml's flash_attn_ext of float32 keys and values, with a mask of float16, from which it makes ALiBi
  ggml soft_max    ggml's mul_mat, soft_max_ext with a mask of float32, and mul_mat

Every result is compared with float64 before it is timed. `./dev bench runtimes` installs what this needs and runs it.
"""

import argparse
import ctypes
from importlib.metadata import version
from pathlib import Path

import ggml
import numpy
import onnx
import onnxruntime
import openvino
import torch
import torch_compare
from onnx import TensorProto, helper
from openvino import opset13
from torch_compare import Shape, alibi, no_encoding, relpos_candidate

import results_file

SHAPES = [Shape(1, 8, length, 64, "causal") for length in (512, 2048)]


def onnx_session(node, inputs, opsets):
    """`inputs` are arrays by name. Returns a function that runs the model and returns its first output."""
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "attention", infos, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*each) for each in opsets])
    model.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda: torch.from_numpy(session.run([node.output[0]], inputs)[0])


def ort_attention(shape, inputs, bias):
    names = ["q", "k", "v"]
    if bias is not None:
        inputs = {**inputs, "bias": bias}
        names.append("bias")
    is_causal = int(bias is None)
    node = helper.make_node("Attention", names, ["out"], scale=shape.scale, is_causal=is_causal)
    return onnx_session(node, inputs, [("", 23)])


def ort_group_query_attention(shape, inputs):
    """Takes and returns [batch, position, head * channel]."""
    width = shape.heads * shape.head_dim

    def flat(x):
        return numpy.ascontiguousarray(x.transpose(0, 2, 1, 3).reshape(shape.batch, shape.length, width))

    node = helper.make_node(
        "GroupQueryAttention",
        ["q", "k", "v", "", "", "last", "total"],
        ["out", "present_k", "present_v"],
        domain="com.microsoft",
        num_heads=shape.heads,
        kv_num_heads=shape.heads,
        scale=shape.scale,
    )
    last = numpy.full(shape.batch, shape.length - 1, numpy.int32)
    total = numpy.array([shape.length], numpy.int32)
    flat_inputs = {**{name: flat(x) for name, x in inputs.items()}, "last": last, "total": total}
    run = onnx_session(node, flat_inputs, [("", 21), ("com.microsoft", 1)])
    return lambda: run().view(shape.batch, shape.length, shape.heads, shape.head_dim).transpose(1, 2)


def openvino_attention(shape, inputs, bias):
    parameters = [opset13.parameter(x.shape, numpy.float32, name) for name, x in inputs.items()]
    scale = opset13.constant(numpy.float32(shape.scale))
    values = list(inputs.values())
    if bias is None:
        none = opset13.constant(numpy.zeros((1, 1), numpy.float32))
        result = opset13.scaled_dot_product_attention(*parameters, none, scale, causal=True)
    else:
        parameters.append(opset13.parameter(bias.shape, numpy.float32, "bias"))
        values.append(bias)
        result = opset13.scaled_dot_product_attention(*parameters, scale)
    model = openvino.Model([result], parameters)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: torch.from_numpy(request.infer(values, share_inputs=True, share_outputs=True)[0])


class GgmlGraph:
    """A graph of ggml with its tensors, in memory of its own. numpy's last axis is ggml's first."""

    def __init__(self, megabytes):
        self.context = ggml.ggml_init(ggml.ggml_init_params(mem_size=megabytes << 20, mem_buffer=None, no_alloc=False))

    def tensor(self, array):
        kind = {"float32": ggml.GGML_TYPE_F32, "float16": ggml.GGML_TYPE_F16}[str(array.dtype)]
        result = ggml.ggml_new_tensor_3d(self.context, kind, *reversed(array.shape))
        contiguous = numpy.ascontiguousarray(array)
        ctypes.memmove(result.contents.data, contiguous.ctypes.data, array.nbytes)
        return result

    def run_of(self, result):
        """A function that computes the tensor and returns it as an array that shares its memory."""
        graph = ggml.ggml_new_graph(self.context)
        ggml.ggml_build_forward_expand(graph, result)
        shape = list(reversed(result.contents.ne[:3]))
        floats = ctypes.cast(result.contents.data, ctypes.POINTER(ctypes.c_float))
        plan = ggml.ggml_graph_plan(graph, 1)
        work = ctypes.create_string_buffer(max(plan.work_size, 1))
        plan.work_data = ctypes.cast(work, type(plan.work_data))

        def run(owners=(self, work)):
            if ggml.ggml_graph_compute(graph, ctypes.byref(plan)) != ggml.GGML_STATUS_SUCCESS:
                raise RuntimeError("ggml refused to compute")
            return torch.from_numpy(numpy.ctypeslib.as_array(floats, shape))

        return run


def ggml_mask(shape, has_alibi):
    """What ggml adds to scores, [query, key]: it multiplies this by the slopes of ALiBi."""
    rows = numpy.arange(shape.length)
    distance = rows[:, None] - rows[None, :]
    seen = -distance if has_alibi else numpy.zeros_like(distance)
    return numpy.where(distance >= 0, seen, -numpy.inf).astype(numpy.float32)[None]


def ggml_flash(shape, inputs, has_alibi):
    graph = GgmlGraph(256)
    q, k, v = (graph.tensor(x[0]) for x in inputs.values())
    mask = graph.tensor(ggml_mask(shape, has_alibi).astype(numpy.float16))
    out = ggml.ggml_flash_attn_ext(graph.context, q, k, v, mask, shape.scale, 8.0 if has_alibi else 0.0, 0.0)
    ggml.ggml_flash_attn_ext_set_prec(out, ggml.GGML_PREC_F32)
    run = graph.run_of(out)
    return lambda: run().transpose(0, 1)[None]


def ggml_soft_max(shape, inputs, has_alibi):
    graph = GgmlGraph(1024)
    q, k = (graph.tensor(inputs[name][0]) for name in ("q", "k"))
    v = graph.tensor(inputs["v"][0].transpose(0, 2, 1))  # ggml multiplies rows by rows
    mask = graph.tensor(ggml_mask(shape, has_alibi))
    scores = ggml.ggml_mul_mat(graph.context, k, q)
    weights = ggml.ggml_soft_max_ext(graph.context, scores, mask, shape.scale, 8.0 if has_alibi else 0.0)
    run = graph.run_of(ggml.ggml_mul_mat(graph.context, v, weights))
    return lambda: run()[None]


def candidates(shape, q, k, v, encoding):
    """Functions by name, relpos first."""
    inputs = {"q": q.numpy(), "k": k.numpy(), "v": v.numpy()}
    bias = None
    if encoding.by_distance is not None:
        bias = encoding.bias(shape, torch.arange(shape.length))[None].numpy()
    result = relpos_candidate(shape, q, k, v, encoding)
    result["ORT Attention"] = ort_attention(shape, inputs, bias)
    if bias is None:
        result["ORT GQA"] = ort_group_query_attention(shape, inputs)
    result["OpenVINO SDPA"] = openvino_attention(shape, inputs, bias)
    result["ggml flash"] = ggml_flash(shape, inputs, bias is not None)
    result["ggml soft_max"] = ggml_soft_max(shape, inputs, bias is not None)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    results_file.add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    title = "inference runtimes, one core, 8 heads: their time over relpos's"
    print(f"{title}\n{'encoding':<14}{'mask':<14}{'length':>8}{'relpos':>14}  times as fast as")
    rows = []
    with torch.inference_mode():
        for shape in SHAPES:
            turns = 5 if arguments.quick else 24
            rows += torch_compare.compare(shape, shape.mask, (no_encoding, alibi), turns, candidates)
    if arguments.json:
        section = torch_compare.section(arguments, title, "mask", rows)
        section["notes"] = [
            f"ONNX Runtime {onnxruntime.__version__}",
            f"OpenVINO {openvino.__version__.split('-')[0]}",
            f"ggml of ggml-python {version('ggml-python')}",
            f"PyTorch {torch.__version__}",
        ]
        results_file.write(Path(arguments.json), [section])


if __name__ == "__main__":
    main()
