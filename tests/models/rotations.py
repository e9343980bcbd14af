"""Records models that rotate q and k, and those whose attention differs from Llama's by a mask, a cap or a law.

Every model has random weights from one seed. A layer's q and k are noted where they enter its rotation, its v and
out in its attention function, and the layers are told apart by the order in which they run.
"""

import contextlib
import math
import sys

import torch
import transformers
from transformers.models.qwen2_vl import modeling_qwen2_vl

HEADS = 4
KEY_HEADS = 2
TEXT = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_HEADS,
    "pad_token_id": 0,
}
FLAT = {key: value for key, value in TEXT.items() if key != "num_key_value_heads"}
VISION = {"hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": HEADS}
MLA = {
    **TEXT,
    "num_key_value_heads": HEADS,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 24,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def build(model_class, arguments, query_norm=1.0):
    """The model with weights that keep the scale of what they are applied to, so that logits spread by a few units.

    `query_norm` sets that spread where q and k are normalised.
    """
    torch.manual_seed(1)
    config = model_class.config_class(attn_implementation="eager", **arguments)
    model = model_class(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, 1.6 / math.sqrt(parameter[0].numel()))
        elif "q_norm" in name:
            parameter.normal_(query_norm, 0.2)
        elif name.endswith("bias"):
            parameter.normal_(0, 0.2)
        elif name.endswith("sinks"):
            parameter.normal_(1, 2)
        else:
            parameter.normal_(1, 0.2)
    return model


class Notes:
    """What was rotated, and how attention was called, layer by layer."""

    def __init__(self):
        self.rotated = []
        self.layers = []

    def rotation(self, function):
        def noted(*args, **kwargs):
            tensors = [args[0], args[1]] if args[1].dim() == args[0].dim() == 4 else [args[0]]
            self.rotated += [tensor.clone() for tensor in tensors]
            return function(*args, **kwargs)

        return noted

    def flat_rotation(self, function):
        """For vision towers whose q and k are [position, head, channel]."""

        def noted(q, k, *args):
            self.rotated += [q[None].clone(), k[None].clone()]
            return function(q, k, *args)

        return noted

    def attention(self, function):
        def noted(module, query, key, value, *args, **kwargs):
            out, weights = function(module, query, key, value, *args, **kwargs)
            channels_last = out if out.shape[1] == query.shape[1] else out.transpose(1, 2)
            self.layers.append((self.rotated, query.clone(), key.clone(), value.clone(), channels_last.clone()))
            self.rotated = []
            return out, weights

        return noted


@contextlib.contextmanager
def patched(replacements):
    """Replaces (object, name) by what its function makes of the original, and puts the original back."""
    originals = {(target, name): getattr(target, name) for target, name, _ in replacements}
    for target, name, wrap in replacements:
        setattr(target, name, wrap(originals[target, name]))
    try:
        yield
    finally:
        for (target, name), original in originals.items():
            setattr(target, name, original)


def module_of(model):
    return sys.modules[type(model).__module__]


def heads_first(tensor, positions):
    return tensor if tensor.shape[2] == positions else tensor.transpose(1, 2)


def whole_head(rotated, attended, last):
    """Puts the channels that are not rotated back beside the rotated ones: behind, or before where `last`."""
    rotated = heads_first(rotated, attended.shape[2]).expand(-1, attended.shape[1], -1, -1)
    count = rotated.shape[-1]
    if last:
        return torch.cat((attended[..., :-count], rotated), dim=-1)
    return torch.cat((rotated, attended[..., count:]), dim=-1)


def run(model, inputs, layer=0, rotation="apply_rotary_pos_emb", attention="eager_attention_forward", last=False):
    """q, k, v and out of one layer. Without a rotation q and k are those that enter attention."""
    notes = Notes()
    module = module_of(model)
    replacements = [(module, attention, notes.attention)]
    if rotation:
        wrap = notes.flat_rotation if rotation == "apply_rotary_pos_emb_vision" else notes.rotation
        replacements.append((module, rotation, wrap))
    with patched(replacements):
        model(**inputs)
    rotated, q, k, v, out = notes.layers[layer]
    if rotated:
        q, k = whole_head(rotated[0], q, last), whole_head(rotated[1], k, last)
    return {"q": q, "k": k, "v": v, "out": out}


def tokens(positions, batch=1):
    return {"input_ids": torch.randint(1, 64, (batch, positions)), "use_cache": False}


def source(model_class, arguments, layer):
    return {"class": model_class.__name__, "config": arguments, "layer": layer}


def text(recorder, name, class_name, what, arguments, positions=48, layer=0, extras=None, query_norm=1.0, **how):
    """Records a case that needs nothing but token ids. `extras` makes further arrays of the model."""
    model_class = getattr(transformers, class_name)
    model = build(model_class, arguments, query_norm)
    arrays = run(model, tokens(positions), layer, **how)
    arrays.update(extras(model) if extras else {})
    recorder.add(name, source(model_class, arguments, layer), what, arrays)


def llama(recorder, name, what, rope, positions=48, **more):
    text(recorder, name, "LlamaModel", what, {**TEXT, "rope_parameters": rope, **more}, positions)


def llama_padded(recorder):
    model = build(transformers.LlamaModel, TEXT)
    padding, positions = [7, 0], 40
    mask = torch.tensor([[0] * count + [1] * (positions - count) for count in padding])
    arrays = run(model, {**tokens(positions, 2), "attention_mask": mask})
    arrays["padding"] = torch.tensor(padding)
    what = "Batch entries are padded on the left; rows of padding queries mean nothing."
    recorder.add("llama_padded", source(transformers.LlamaModel, TEXT, 0), what, arrays)


def llamas(recorder):
    llama(recorder, "llama", "Default rotation in half_split layout, causal.", ROPE)
    llama_padded(recorder)
    linear = {**ROPE, "rope_type": "linear", "factor": 4.0}
    llama(recorder, "llama_linear", "Frequencies are divided by the factor.", linear)
    llama3 = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    what = "Long wavelengths are scaled, short ones are not, and those between are blended."
    llama(recorder, "llama_llama3", what, llama3, head_dim=32)
    yarn = {**ROPE, "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16}
    what = "YaRN with its bounds rounded, and cosines and sines scaled by 0.1 ln(factor) + 1."
    llama(recorder, "llama_yarn", what, yarn, head_dim=32)
    what = "YaRN whose cosines and sines are scaled by the quotient of both mscale terms."
    llama(recorder, "llama_yarn_mscale", what, {**yarn, "mscale": 1.0, "mscale_all_dim": 0.707}, head_dim=32)
    what = "YaRN whose bounds are not rounded, as in gpt-oss."
    llama(recorder, "llama_yarn_exact", what, {**yarn, "truncate": False}, head_dim=32)
    dynamic = {**ROPE, "rope_type": "dynamic", "factor": 4.0}
    what = "The base grows with the length, which is longer than the trained one."
    llama(recorder, "llama_dynamic", what, dynamic, 60, max_position_embeddings=24)


def phi3(recorder):
    pairs = range(12)
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1 + 0.05 * i for i in pairs],
        "long_factor": [1 + 0.5 * i for i in pairs],
        "original_max_position_embeddings": 48,
        "partial_rotary_factor": 0.75,
        "factor": 4.0,
    }
    arguments = {
        **TEXT,
        "hidden_size": 128,
        "max_position_embeddings": 192,
        "original_max_position_embeddings": 48,
        "rope_parameters": rope,
    }
    what = "LongRoPE on 24 of 32 channels, longer than the trained length, so the long factors hold."
    text(recorder, "phi3_long", "Phi3Model", what, arguments, 49)
    what = "LongRoPE on 24 of 32 channels, exactly the trained length, so the short factors hold."
    text(recorder, "phi3_short", "Phi3Model", what, arguments, 48)


def plain_families(recorder):
    window = {**TEXT, "sliding_window": 9}
    text(recorder, "mistral", "MistralModel", "Causal sliding window of 9 keys, the own one among them.", window)
    what = "q and k are normalised before rotation; the base is 1e6."
    qwen3 = {**TEXT, "head_dim": 32, "rope_parameters": {**ROPE, "rope_theta": 1e6}}
    text(recorder, "qwen3", "Qwen3Model", what, qwen3, query_norm=3.0)
    cohere = {**TEXT, "rope_parameters": {**ROPE, "rope_theta": 500000.0}}
    text(recorder, "cohere", "CohereModel", "Rotation in interleaved layout; the base is 5e5.", cohere)
    what = "A quarter of the channels is rotated, in half_split layout."
    text(recorder, "gpt_neox", "GPTNeoXModel", what, {**FLAT, "hidden_size": 128, "rotary_pct": 0.25})
    partial = {**TEXT, "hidden_size": 128, "partial_rotary_factor": 0.25}
    text(recorder, "stablelm", "StableLmModel", what, partial)
    what = "Half of the channels is rotated, in half_split layout."
    text(recorder, "phi", "PhiModel", what, {**TEXT, "partial_rotary_factor": 0.5})
    what = "Half of the channels is rotated, in interleaved layout."
    text(recorder, "glm4", "Glm4Model", what, {**TEXT, "head_dim": 32})
    what = "The scale is attention_multiplier, not the inverse root of the channels."
    text(recorder, "granite", "GraniteModel", what, {**TEXT, "attention_multiplier": 0.4})
    nope = {**TEXT, "num_hidden_layers": 2, "no_rope_layers": [1, 0]}
    what = "A layer without rotation."
    text(recorder, "smollm3_nope", "SmolLM3Model", what, nope, layer=1, rotation=None)


def gptj(recorder):
    """GPT-J rotates k before q, and has its attention in a method."""
    arguments = {"vocab_size": 64, "n_embd": 64, "n_layer": 1, "n_head": HEADS, "n_positions": 64, "rotary_dim": 8}
    model = build(transformers.GPTJModel, arguments)
    notes = Notes()
    attention = type(model.h[0].attn)
    replacements = [(attention, "_attn", notes.attention), (module_of(model), "apply_rotary_pos_emb", notes.rotation)]
    with patched(replacements):
        model(**tokens(48))
    (k_rotated, q_rotated), q, k, v, out = notes.layers[0]
    arrays = {"q": whole_head(q_rotated, q, False), "k": whole_head(k_rotated, k, False), "v": v, "out": out}
    what = "8 of 16 channels are rotated, in interleaved layout."
    recorder.add("gptj", source(transformers.GPTJModel, arguments, 0), what, arrays)


def gemmas(recorder):
    types = ["sliding_attention", "full_attention"]
    gemma2 = {
        **TEXT,
        "head_dim": 16,
        "num_hidden_layers": 2,
        "layer_types": types,
        "sliding_window": 9,
        "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": 3.0,
    }
    what = "Scale from query_pre_attn_scalar, then the cap of 3, then a causal sliding window of 9 keys."
    text(recorder, "gemma2", "Gemma2Model", what, gemma2)
    gemma3 = {
        **TEXT,
        "head_dim": 32,
        "num_hidden_layers": 2,
        "layer_types": types,
        "sliding_window": 9,
        "query_pre_attn_scalar": 32,
        "rope_parameters": {
            "sliding_attention": ROPE,
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
        },
    }
    what = "A local layer: base 1e4 and a causal sliding window of 9 keys."
    text(recorder, "gemma3_local", "Gemma3TextModel", what, gemma3)
    what = "A global layer: base 1e6, frequencies divided by 8, causal."
    text(recorder, "gemma3_global", "Gemma3TextModel", what, gemma3, layer=1)
    gemma4 = {
        **TEXT,
        "head_dim": 16,
        "global_head_dim": 64,
        "num_hidden_layers": 2,
        "layer_types": types,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 64,
    }
    what = "A global layer: proportional rotation of 8 of 32 pairs (i, i + 32) with exponents 2i / 64, and scale 1."
    text(recorder, "gemma4_global", "Gemma4TextModel", what, gemma4, layer=1, query_norm=0.4)


def encoders(recorder):
    modernbert = {
        **FLAT,
        "num_hidden_layers": 2,
        "layer_types": ["full_attention", "sliding_attention"],
        "local_attention": 16,
    }
    what = "A local layer: every token sees 8 tokens on either side, and the base is 1e4."
    text(recorder, "modernbert_local", "ModernBertModel", what, modernbert, layer=1)
    esm = {
        **FLAT,
        "mask_token_id": 63,
        "position_embedding_type": "rotary",
        "token_dropout": False,
        "emb_layer_norm_before": True,
    }
    what = "Bidirectional; q is recorded as the model scales it before rotation, so the scale is 1."
    text(recorder, "esm", "EsmModel", what, esm)


def gpt_oss(recorder):
    rope = {
        "rope_type": "yarn",
        "rope_theta": 150000.0,
        "factor": 32.0,
        "original_max_position_embeddings": 64,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
    }
    arguments = {
        **TEXT,
        "head_dim": 32,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "layer_types": ["sliding_attention"],
        "sliding_window": 9,
        "max_position_embeddings": 2048,
        "rope_parameters": rope,
    }
    what = "A sink per head joins the softmax, a causal sliding window of 9 keys, and YaRN with exact bounds."
    text(
        recorder,
        "gpt_oss",
        "GptOssModel",
        what,
        arguments,
        extras=lambda model: {"sinks": model.layers[0].self_attn.sinks},
    )


def noted_output(model, submodule, inputs, layer, **how):
    """As run(), and q from the output of a submodule, [batch, position, head and channel]."""
    outputs = []
    handle = submodule.register_forward_hook(lambda module, args, output: outputs.append(output.clone()))
    arrays = run(model, inputs, layer, **how)
    handle.remove()
    batch, heads, positions, channels = arrays["q"].shape
    arrays["q"] = outputs[0].reshape(batch, positions, heads, channels).transpose(1, 2)
    return arrays


def l2_normalised(tensor, epsilon):
    return tensor * torch.rsqrt(tensor.pow(2).mean(-1, keepdim=True) + epsilon)


def llama4(recorder):
    arguments = {
        **TEXT,
        "intermediate_size_mlp": 32,
        "head_dim": 16,
        "num_hidden_layers": 2,
        "num_local_experts": 2,
        "no_rope_layers": [1, 0],
        "attention_chunk_size": 16,
        "floor_scale": 16,
    }
    model_class = transformers.Llama4TextModel
    model = build(model_class, arguments)
    arrays = run(model, tokens(48), rotation="apply_rotary_emb")
    for name in ("q", "k"):
        arrays[name] = l2_normalised(arrays[name], model.config.rms_norm_eps)
    what = "Causal within chunks of 16; the L2 norm after rotation is in q and k already, with which it commutes."
    recorder.add("llama4_chunked", source(model_class, arguments, 0), what, arrays)
    query = model.layers[1].self_attn.q_proj
    arrays = noted_output(model, query, tokens(48), 1, rotation=None)
    what = "No rotation; q is scaled by 1 + 0.1 ln(1 + floor((p + 1) / 16)) after what is recorded, p from 0."
    recorder.add("llama4_nope", source(model_class, arguments, 1), what, arrays)


def position_laws(recorder):
    rope = {
        **ROPE,
        "rope_type": "yarn",
        "factor": 16.0,
        "original_max_position_embeddings": 16,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.1,
    }
    arguments = {**TEXT, "head_dim": 32, "rope_parameters": rope, "max_position_embeddings": 256}
    what = "After rotation q is scaled by 1 + 0.1 ln(1 + floor(p / 16)), p from 0; YaRN whose mscale terms cancel."
    text(recorder, "ministral3", "Ministral3Model", what, arguments)
    beam(recorder)
    mistral_large4(recorder)


def beam(recorder):
    arguments = {
        **TEXT,
        "head_dim": 16,
        "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 9,
        "moe_intermediate_size": 16,
        "num_experts": 8,
        "num_experts_per_tok": 2,
    }
    model_class = transformers.BeamModel
    model = build(model_class, arguments, query_norm=3.0)
    arrays = run(model, tokens(48))
    what = "A local layer: rotation and a causal sliding window of 9 keys; q and k are normalised before."
    recorder.add("beam_sliding", source(model_class, arguments, 0), what, arrays)
    inputs = {**tokens(48), "position_ids": torch.arange(2000, 2048)[None]}
    arrays = noted_output(model, model.layers[1].self_attn.q_norm, inputs, 1, rotation=None)
    what = "No rotation; q is scaled by (1 + (p + 1) / 2048) ** 0.1 after what is recorded, p from 2000 on."
    recorder.add("beam_nope", source(model_class, arguments, 1), what, arrays)


def mistral_large4(recorder):
    arguments = {
        **MLA,
        "moe_intermediate_size": 16,
        "n_routed_experts": 2,
        "num_experts_per_tok": 1,
        "no_rope_layers": [1],
        "index_topk": 64,
        "index_head_dim": 16,
        "index_n_heads": 2,
        "rope_parameters": ROPE,
    }
    model_class = transformers.MistralLarge4TextModel
    model = build(model_class, arguments)
    model.rotary_emb.alpha.normal_(0, 0.3)
    attention = model.layers[0].self_attn
    attention.softmax_scaling.scale.uniform_(0.1, 0.5)
    attention.softmax_scaling.bias.uniform_(0.2, 0.8)
    how = {"rotation": "apply_rotary_pos_emb_interleave", "last": True}
    arrays = noted_output(model, attention.q_proj, tokens(48), 0, **how)
    arrays["slopes"] = attention.softmax_scaling.scale
    arrays["intercepts"] = attention.softmax_scaling.bias
    arrays["multipliers"] = model.rotary_emb.alpha.exp()
    what = (
        "MLA: 16 channels, then 16 rotated ones as interleaved pairs; q is scaled by slope ln(p + 1) + intercept, "
        "p from 0, after what is recorded; frequencies have learned multipliers; no key is left out by the indexer."
    )
    recorder.add("mistral_large4", source(model_class, arguments, 0), what, arrays)


def deepseek_v3(recorder):
    rope = {
        **ROPE,
        "rope_type": "yarn",
        "factor": 40.0,
        "original_max_position_embeddings": 16,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
    }
    arguments = {
        **MLA,
        "q_lora_rank": 24,
        "moe_intermediate_size": 16,
        "n_routed_experts": 8,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "max_position_embeddings": 640,
        "rope_parameters": rope,
    }
    what = (
        "MLA: 16 channels that are not rotated, then 16 rotated ones as interleaved pairs, as they are before the "
        "model reorders them; values of 24 channels; the scale has the square of YaRN's mscale."
    )
    how = {"rotation": "apply_rotary_pos_emb_interleave", "last": True}
    text(recorder, "deepseek_v3", "DeepseekV3Model", what, arguments, **how)


def image_positions(before, rows, columns, after):
    """Time, height and width of `before` words, one image and `after` words, as Qwen2-VL counts them."""
    words = torch.arange(before).expand(3, -1)
    height, width = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    image = torch.stack((torch.zeros(rows * columns, dtype=torch.long), height.flatten(), width.flatten())) + before
    behind = torch.arange(after).expand(3, -1) + image.max() + 1
    return torch.cat((words, image, behind), dim=1)


def image_text(recorder, name, class_name, what, arguments, query_norm=1.0):
    model_class = getattr(transformers, class_name)
    model = build(model_class, arguments, query_norm)
    positions = image_positions(10, 6, 5, 8)
    inputs = {**tokens(positions.shape[1]), "position_ids": positions[:, None]}
    arrays = run(model, inputs)
    arrays["positions"] = positions
    recorder.add(name, source(model_class, arguments, 0), what, arrays)


def image_texts(recorder):
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}
    wide = {**TEXT, "hidden_size": 128, "rope_parameters": rope}
    what = "M-RoPE: pairs 0-3 turn by time, 4-9 by height, 10-15 by width, in half_split layout."
    image_text(recorder, "qwen2_vl", "Qwen2VLTextModel", what, wide)
    interleaved = {**wide, "head_dim": 32, "rope_parameters": {**rope, "mrope_section": [6, 5, 5]}}
    what = "M-RoPE: pairs 0-14 turn by time, height and width in turn, pair 15 by time, in half_split layout."
    image_text(recorder, "qwen3_vl", "Qwen3VLTextModel", what, interleaved, query_norm=3.0)
    glm = {**wide, "rope_parameters": {**rope, "mrope_section": [2, 3, 3], "partial_rotary_factor": 0.5}}
    what = "M-RoPE on half of the channels: pairs 0-1 time, 2-4 height, 5-7 width, in interleaved layout."
    image_text(recorder, "glm4v", "Glm4vTextModel", what, glm)
    ernie = {
        **wide,
        "moe_intermediate_size": [16, 16],
        "moe_num_experts": 2,
        "moe_k": 1,
        "mlp_layer_types": ["dense"],
        "rope_parameters": {**rope, "rope_theta": 500000.0, "mrope_section": [6, 6, 4]},
    }
    what = "M-RoPE: pairs 0-11 turn by height and width in turn, 12-15 by time, in interleaved layout."
    image_text(recorder, "ernie4_5_vl", "Ernie4_5_VLMoeTextModel", what, ernie)


def grid(rows, columns):
    return torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")).flatten(1)


def qwen2_vl_vision(recorder):
    arguments = {"depth": 1, "embed_dim": 128, "hidden_size": 32, "num_heads": HEADS, "mlp_ratio": 1, "patch_size": 4}
    model_class = modeling_qwen2_vl.Qwen2VisionTransformerPretrainedModel
    model = build(model_class, arguments)
    shape = torch.tensor([[1, 6, 8]])
    inputs = {"hidden_states": torch.randn(48, 3 * 2 * 4 * 4), "grid_thw": shape}
    arrays = run(model, inputs, rotation="apply_rotary_pos_emb_vision")
    arrays["positions"] = modeling_qwen2_vl.get_vision_position_ids(shape, model.spatial_merge_size).T
    what = "2-D axial rotation: pairs 0-7 turn by row, 8-15 by column, in half_split layout; bidirectional."
    recorder.add("qwen2_vl_vision", source(model_class, arguments, 0), what, arrays)


def pixtral(recorder):
    arguments = {**VISION, "hidden_size": 128, "head_dim": 32, "image_size": 32, "patch_size": 4}
    model_class = transformers.PixtralVisionModel
    model = build(model_class, arguments)
    arrays = run(model, {"pixel_values": torch.randn(1, 3, 24, 32)})
    arrays["positions"] = grid(6, 8)
    what = "2-D: pairs 0-7 turn by row with even frequencies, 8-15 by column with odd ones, half_split; bidirectional."
    recorder.add("pixtral", source(model_class, arguments, 0), what, arrays)


def llama4_vision(recorder):
    arguments = {
        **VISION,
        "hidden_size": 128,
        "intermediate_size": 512,
        "image_size": 24,
        "patch_size": 4,
        "vision_output_dim": 32,
        "projector_input_dim": 32,
        "projector_output_dim": 32,
    }
    model_class = transformers.Llama4VisionModel
    model = build(model_class, arguments)
    how = {"rotation": "vision_apply_rotary_emb", "attention": "vision_eager_attention_forward"}
    arrays = run(model, {"pixel_values": torch.randn(1, 3, 24, 24)}, **how)
    columns_then_rows = grid(6, 6).flip(0) + 1
    arrays["positions"] = torch.cat((columns_then_rows, torch.zeros(2, 1, dtype=torch.long)), dim=1)
    what = "2-D from 1: pairs 0-7 turn by column, 8-15 by row, interleaved; the class token, last, is not rotated."
    recorder.add("llama4_vision", source(model_class, arguments, 0), what, arrays)


def gemma4_vision(recorder):
    arguments = {
        **VISION,
        "num_key_value_heads": KEY_HEADS,
        "head_dim": 32,
        "patch_size": 4,
        "pooling_kernel_size": 2,
        "position_embedding_size": 16,
    }
    model_class = transformers.models.gemma4.modeling_gemma4.Gemma4VisionModel
    model = build(model_class, arguments, query_norm=0.5)
    positions = grid(6, 8).flip(0)
    inputs = {"pixel_values": torch.rand(1, 48, 3 * 4 * 4), "pixel_position_ids": positions.T[None]}
    arrays = run(model, inputs, rotation="apply_multidimensional_rope")
    arrays["positions"] = positions
    what = "2-D: the first half of the head turns by column, the second by row, each half_split; scale 1; base 100."
    recorder.add("gemma4_vision", source(model_class, arguments, 0), what, arrays)


def record(recorder):
    groups = (llamas, phi3, plain_families, gptj, gemmas, encoders, gpt_oss, llama4, position_laws, deepseek_v3)
    for group in groups + (image_texts, qwen2_vl_vision, pixtral, llama4_vision, gemma4_vision):
        group(recorder)
