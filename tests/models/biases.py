"""Cases of additive biases, masks, selected keys and sinks, each from one layer of a small model of transformers.

Distances are key position minus query position. Every table of distances or buckets is given in ascending order.
"""

import torch
import transformers
from torch import nn


def spread(gain, *modules):
    """Draws weights so that inputs of unit size give outputs of size `gain`."""
    for module in modules:
        nn.init.normal_(module.weight, 0, gain / module.weight.shape[-1] ** 0.5)


def draw(size, *parameters):
    for parameter in parameters:
        nn.init.normal_(parameter, 0, size)


def build(seed, name, config_name, arguments):
    torch.manual_seed(seed)
    config = getattr(transformers, config_name)(**arguments)
    config._attn_implementation = "eager"
    return getattr(transformers, name)._from_config(config, attn_implementation="eager").eval()


def watch(call, **modules):
    """Runs `call` and returns the output of each module, of the one named `out` the input, of `states` the input."""
    seen = {}

    def keep_output(name):
        return lambda module, inputs, output: seen.__setitem__(name, output.clone())

    def keep_input(name):
        return lambda module, inputs, named: seen.__setitem__(name, (inputs or tuple(named.values()))[0].clone())

    hooks = []
    for name, module in modules.items():
        if name in ("out", "states"):
            hooks.append(module.register_forward_pre_hook(keep_input(name), with_kwargs=True))
        else:
            hooks.append(module.register_forward_hook(keep_output(name)))
    call()
    for hook in hooks:
        hook.remove()
    return seen


def by_head(array, heads):
    """From [batch, position, heads * channel] to [batch, heads, position, channel]."""
    return array.reshape(*array.shape[:2], heads, -1).transpose(1, 2)


def attention(seen, heads, key_heads=None):
    return {
        "q": by_head(seen["q"], heads),
        "k": by_head(seen["k"], key_heads or heads),
        "v": by_head(seen["v"], key_heads or heads),
        "out": by_head(seen["out"], heads),
    }


def tokens(batch, length, vocabulary=64):
    return torch.randint(2, vocabulary, (batch, length))


T5 = {"vocab_size": 64, "d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 4}


def t5_layer(layer):
    spread(0.8, layer.q, layer.k)
    spread(1, layer.v)
    draw(1, layer.relative_attention_bias.weight)
    return {"q": layer.q, "k": layer.k, "v": layer.v, "out": layer.o}


def t5_encoder(recorder):
    model = build(1, "T5EncoderModel", "T5Config", T5)
    layer = model.encoder.block[0].layer[0].SelfAttention
    modules = t5_layer(layer)
    source = {"class": "T5EncoderModel", "config": T5, "layer": 0}
    table = layer.relative_attention_bias.weight
    ids = tokens(1, 80)
    seen = watch(lambda: model(input_ids=ids), **modules)
    what = "Bias from a table by T5's buckets of both directions, without a scale."
    recorder.add("t5_encoder", source, what, attention(seen, 4) | {"table": table})
    ids = tokens(2, 48)
    lengths = torch.tensor([39, 48])
    mask = (torch.arange(48) < lengths[:, None]).long()
    seen = watch(lambda: model(input_ids=ids, attention_mask=mask), **modules)
    what = "The same with padding behind the first sequence of the batch."
    recorder.add("t5_encoder_padded", source, what, attention(seen, 4) | {"table": table, "lengths": lengths})


def t5_decoder(recorder):
    model = build(2, "T5Model", "T5Config", T5)
    layer = model.decoder.block[0].layer[0].SelfAttention
    modules = t5_layer(layer)
    ids = tokens(1, 80)
    seen = watch(lambda: model(input_ids=ids[:, :8], decoder_input_ids=ids), **modules)
    source = {"class": "T5Model", "config": T5, "layer": 0}
    what = "Causal, with a bias from a table by T5's buckets of one direction, without a scale."
    recorder.add("t5_decoder", source, what, attention(seen, 4) | {"table": layer.relative_attention_bias.weight})


SMALL = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}


def mpnet(recorder):
    model = build(3, "MPNetModel", "MPNetConfig", SMALL)
    layer = model.encoder.layer[0].attention.attn
    spread(1.5, layer.q, layer.k)
    spread(1, layer.v)
    table = model.encoder.relative_attention_bias.weight
    draw(1, table)
    ids = tokens(1, 80)
    seen = watch(lambda: model(input_ids=ids), q=layer.q, k=layer.k, v=layer.v, out=layer.o)
    source = {"class": "MPNetModel", "config": SMALL, "layer": 0}
    what = "Bias from a table by T5's buckets of both directions, added to the scaled scores."
    recorder.add("mpnet", source, what, attention(seen, 4) | {"table": table})


def wavlm(recorder):
    sizes = {"num_buckets": 32, "max_bucket_distance": 64, "num_conv_pos_embeddings": 16}
    arguments = SMALL | sizes | {"num_conv_pos_embedding_groups": 4}
    model = build(4, "WavLMModel", "WavLMConfig", arguments)
    layer = model.encoder.layers[0].attention
    spread(1.5, layer.q_proj, layer.k_proj, layer.gru_rel_pos_linear)
    spread(1, layer.v_proj)
    draw(1, layer.rel_attn_embed.weight, layer.gru_rel_pos_const)
    nn.init.eye_(layer.out_proj.weight)
    nn.init.zeros_(layer.out_proj.bias)
    states = torch.randn(1, 80, 64)
    projected = {}
    layer.register_forward_hook(lambda module, inputs, output: projected.update(out=output[0]))
    seen = watch(lambda: model.encoder(states), states=layer, gate=layer.gru_rel_pos_linear)
    projected |= {name: getattr(layer, name + "_proj")(seen["states"]) for name in "qkv"}
    first, second = seen["gate"].unflatten(-1, (2, 4)).sum(-1).sigmoid().unbind(-1)
    gates = first * (second * layer.gru_rel_pos_const[..., 0] - 1) + 2
    extras = {"gates": gates, "table": layer.rel_attn_embed.weight}
    source = {"class": "WavLMModel", "config": arguments, "layer": 0}
    what = "Bias from a table by T5's buckets, multiplied by a gate of each head and query."
    recorder.add("wavlm", source, what, attention(projected, 4) | extras)


def bloom(recorder):
    arguments = {"vocab_size": 64, "hidden_size": 96, "n_layer": 1, "n_head": 6}
    model = build(5, "BloomModel", "BloomConfig", arguments)
    layer = model.h[0].self_attention
    spread(1.5, layer.query_key_value)
    ids = tokens(1, 64)
    seen = watch(lambda: model(input_ids=ids), fused=layer.query_key_value, out=layer.dense)
    q, k, v = seen["fused"].unflatten(-1, (6, 3, 16)).transpose(1, 2).unbind(3)
    slopes = model.build_alibi_tensor(torch.ones(1, 2), 6, torch.float32)[:, 0, 1]
    arrays = {"q": q, "k": k, "v": v, "out": by_head(seen["out"], 6), "slopes": slopes}
    source = {"class": "BloomModel", "config": arguments, "layer": 0}
    recorder.add("bloom", source, "Causal ALiBi of six heads, not a power of two.", arrays)


def mpt(recorder):
    arguments = {"vocab_size": 64, "d_model": 96, "n_layers": 1, "n_heads": 6, "expansion_ratio": 1}
    model = build(6, "MptModel", "MptConfig", arguments)
    layer = model.blocks[0].attn
    spread(1.5, layer.Wqkv)
    ids = tokens(1, 64)
    seen = watch(lambda: model(input_ids=ids), fused=layer.Wqkv, out=layer.out_proj)
    seen |= dict(zip("qkv", seen["fused"].chunk(3, -1)))
    bias = model.build_mpt_alibi_tensor(6, 2)
    slopes = bias[:, 0, 1] - bias[:, 0, 0]
    source = {"class": "MptModel", "config": arguments, "layer": 0}
    recorder.add("mpt", source, "Causal ALiBi, added to the scaled scores.", attention(seen, 6) | {"slopes": slopes})


def falcon_alibi(recorder):
    arguments = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "alibi": True}
    model = build(7, "FalconModel", "FalconConfig", arguments)
    model.config._attn_implementation = "sdpa"
    layer = model.h[0].self_attention
    spread(1.5, layer.query_key_value)
    ids = tokens(1, 64)
    seen = watch(lambda: model(input_ids=ids), fused=layer.query_key_value, out=layer.dense)
    heads = by_head(seen["fused"], 6)
    arrays = {"q": heads[:, :4], "k": heads[:, 4:5], "v": heads[:, 5:], "out": by_head(seen["out"], 4)}
    arrays["slopes"] = 2.0 ** -torch.arange(2, 9, 2)
    source = {"class": "FalconModel", "config": arguments, "layer": 0}
    what = "Causal ALiBi, added before the scale, four heads on one key head, sdpa (eager adds it twice)."
    recorder.add("falcon_alibi", source, what, arrays)


def deberta_v2(recorder):
    terms = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 16}
    arguments = SMALL | terms | {"max_relative_positions": 64, "norm_rel_ebd": "layer_norm", "share_att_key": True}
    model = build(8, "DebertaV2Model", "DebertaV2Config", arguments)
    layer = model.encoder.layer[0].attention.self
    spread(1.6, layer.query_proj, layer.key_proj)
    spread(1, layer.value_proj)
    ids = tokens(1, 72)
    output = model.encoder.layer[0].attention.output.dense
    modules = {"q": layer.query_proj, "k": layer.key_proj, "v": layer.value_proj, "out": output}
    reached = []
    handles = [modules[n].register_forward_hook(lambda m, i, o: reached.append(o)) for n in "qk"]
    seen = watch(lambda: model(input_ids=ids), v=layer.value_proj, out=output)
    for handle in handles:
        handle.remove()
    seen["q"], seen["k"], by_query, by_key = reached
    arrays = attention(seen, 4)
    scale = (16 * 3) ** -0.5
    arrays["query_tables"] = arrays["q"] @ by_head(by_key, 4).transpose(2, 3) * scale
    arrays["key_tables"] = arrays["k"] @ by_head(by_query, 4).transpose(2, 3) * scale
    distances = torch.arange(71, -72, -1)
    buckets = transformers.models.deberta_v2.modeling_deberta_v2.make_log_bucket_position(distances, 16, 64)
    arrays["query_buckets"] = arrays["key_buckets"] = (buckets.long() + 16).clamp(0, 31)
    source = {"class": "DebertaV2Model", "config": arguments, "layer": 0}
    what = "A bias of the query by the bucket of the distance, and one of the key; everything over sqrt(3 d)."
    recorder.add("deberta_v2", source, what, arrays)


CONFORMER = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}


def wav2vec2_bert(recorder):
    arguments = CONFORMER | {"feature_projection_input_dim": 16}
    arguments |= {"left_max_position_embeddings": 16, "right_max_position_embeddings": 8}
    model = build(9, "Wav2Vec2BertModel", "Wav2Vec2BertConfig", arguments)
    layer = model.encoder.layers[0].self_attn
    spread(1.5, layer.linear_q, layer.linear_k)
    spread(1, layer.linear_v)
    draw(1, layer.distance_embedding.weight)
    features = torch.randn(1, 64, 16)
    modules = {"q": layer.linear_q, "k": layer.linear_k, "v": layer.linear_v, "out": layer.linear_out}
    seen = watch(lambda: model(input_features=features), **modules)
    arrays = attention(seen, 4)
    arrays["coefficients"] = arrays["q"] * layer.scaling
    arrays["tables"] = layer.distance_embedding.weight.T[None]
    source = {"class": "Wav2Vec2BertModel", "config": arguments, "layer": 0}
    what = "Shaw's relative keys, distances clipped at 16 to the left and 8 to the right."
    recorder.add("wav2vec2_bert", source, what, arrays)


def parakeet(recorder):
    arguments = CONFORMER | {"num_mel_bins": 16, "subsampling_conv_channels": 8}
    model = build(10, "ParakeetEncoder", "ParakeetEncoderConfig", arguments)
    layer = model.layers[0].self_attn
    spread(1.5, layer.q_proj, layer.k_proj, layer.relative_k_proj)
    spread(1, layer.v_proj)
    draw(1, layer.bias_u, layer.bias_v)
    draw(0.5, *[module.weight for module in model.subsampling.modules() if hasattr(module, "weight")])
    features = torch.randn(1, 8 * 48, 16)
    modules = {"q": layer.q_proj, "k": layer.k_proj, "v": layer.v_proj, "out": layer.o_proj}
    seen = watch(lambda: model(input_features=features), relative=layer.relative_k_proj, **modules)
    arrays = attention(seen, 4)
    arrays["coefficients"] = (arrays["q"] + layer.bias_v[:, None]) * layer.scaling
    arrays["q"] = arrays["q"] + layer.bias_u[:, None]
    arrays["tables"] = by_head(seen["relative"], 4)[0].transpose(1, 2)
    source = {"class": "ParakeetEncoder", "config": arguments, "layer": 0}
    recorder.add("parakeet", source, "Transformer-XL's relative keys, with the content and position biases.", arrays)


def rows(array):
    """From [batch, position, head, channel] to [batch, head, position, channel]."""
    return array.transpose(1, 2)


INKLING = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16}
INKLING |= {"num_key_value_heads": 2, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 16}
INKLING |= {"sliding_window_size": 20, "rel_extent": 24, "d_rel": 8, "moe_intermediate_size": 32}
INKLING |= {"n_routed_experts": 4, "num_experts_per_tok": 2, "layer_types": ["hybrid_sliding", "hybrid"]}


def by_ascending_distance(profiles):
    """From [r, backward distance] to [1, r, distance], with a zero first: farther keys have no bias."""
    return nn.functional.pad(profiles.flip(-1), (1, 0))[None]


def inkling(recorder):
    dense = {"intermediate_size": 64, "mlp_layer_types": ["dense", "dense"]}
    arguments = INKLING | dense | {"log_scaling_n_floor": 8, "log_scaling_alpha": 0.5}
    model = build(11, "InklingTextModel", "InklingTextConfig", arguments)
    ids = tokens(1, 72)
    for number, kind in enumerate(["sliding", "full"]):
        layer = model.layers[number].self_attn
        spread(1, layer.q_proj, layer.k_proj, layer.v_proj, layer.r_proj)
        nn.init.constant_(layer.q_norm.weight, 2.5)
        nn.init.constant_(layer.k_norm.weight, 2.5)
        draw(0.5, layer.rel_logits_proj.proj)
        modules = {"q": layer.q_norm, "k": layer.k_norm, "v": layer.v_sconv, "out": layer.o_proj, "r": layer.r_proj}
        seen = watch(lambda: model(input_ids=ids), **modules)
        arrays = {"q": rows(seen["q"]), "k": rows(seen["k"])}
        arrays |= {"v": by_head(seen["v"], 2), "out": by_head(seen["out"], 4)}
        arrays |= {"coefficients": by_head(seen["r"], 4), "tables": by_ascending_distance(layer.rel_logits_proj.proj)}
        source = {"class": "InklingTextModel", "config": arguments, "layer": number}
        law = ", all times 1 + 0.5 ln(max(1, (p + 1) / 8))" if kind == "full" else " in a window of 20"
        what = f"Relative logits mixed by the query, none farther than their extent{law}."
        recorder.add(f"inkling_{kind}", source, what, arrays)


def inkling2(recorder):
    model = build(12, "Inkling2TextModel", "Inkling2TextConfig", INKLING)
    layer = model.layers[0].self_attn
    spread(1.5, layer.q_proj, layer.k_proj, layer.sink_proj)
    spread(1, layer.v_proj, layer.r_proj)
    draw(0.5, layer.rel_logits_proj.proj)
    nn.init.zeros_(layer.gate_proj.weight)
    ids = tokens(1, 64)
    modules = {"q": layer.q_l2_clip, "k": layer.k_l2_clip, "v": layer.v_norm, "r": layer.rel_l2_clip}
    seen = watch(lambda: model(input_ids=ids), sinks=layer.sink_proj, out=layer.o_proj, **modules)
    arrays = {name: rows(seen[name]) for name in "qkv"}
    arrays |= {"out": by_head(seen["out"], 4) * 2, "sinks": rows(seen["sinks"])}
    arrays |= {"coefficients": rows(seen["r"]), "tables": by_ascending_distance(layer.rel_logits_proj.proj)}
    source = {"class": "Inkling2TextModel", "config": INKLING, "layer": 0}
    what = "A window, relative logits mixed by the query, and a sink of each head and query (gates of one half undone)."
    recorder.add("inkling2_sliding", source, what, arrays)


def gemma4_audio(recorder):
    arguments = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "output_proj_dims": 32}
    arguments |= {"attention_chunk_size": 8, "attention_context_left": 9, "attention_logit_cap": 3.0}
    arguments |= {"subsampling_conv_channels": [16, 4]}
    model = build(13, "Gemma4AudioModel", "Gemma4AudioConfig", arguments)
    layer = model.layers[0].self_attn
    spread(1.5, layer.q_proj.linear, layer.k_proj.linear, layer.relative_k_proj)
    spread(1, layer.v_proj.linear)
    draw(0.5, layer.per_dim_scale)
    features = torch.randn(1, 4 * 52, 16)
    modules = {"q": layer.q_proj, "k": layer.k_proj, "v": layer.v_proj, "out": layer.post}
    seen = watch(lambda: model(input_features=features), relative=layer.relative_k_proj, **modules)
    arrays = attention(seen, 4)
    arrays["q"] = arrays["q"] * layer.q_scale * nn.functional.softplus(layer.per_dim_scale)
    arrays["k"] = arrays["k"] * layer.k_scale
    arrays["coefficients"] = arrays["q"]
    arrays["tables"] = by_head(seen["relative"].reshape(1, 9, 64), 4)[0].transpose(1, 2)
    source = {"class": "Gemma4AudioModel", "config": arguments, "layer": 0}
    what = "The softcap is of the score and the relative logit together; the query and the 7 keys before it are seen."
    recorder.add("gemma4_audio", source, what, arrays)


def udop(recorder):
    tables = [{"type": "1d"}]
    tables += [{"type": axis, "scaling_factor": 128} for axis in ("horizontal", "vertical")]
    arguments = T5 | {"relative_bias_args": tables, "max_2d_position_embeddings": 64}
    model = build(14, "UdopEncoderModel", "UdopConfig", arguments)
    layer = model.encoder.block[0].layer[0].SelfAttention
    modules = t5_layer(layer)
    biases = [bias.relative_attention_bias.weight for bias in model.encoder.relative_bias.biases]
    draw(1, *biases)
    ids = tokens(1, 64)
    centres = torch.randint(1, 128, (1, 64, 2))
    boxes = torch.cat([centres - 1, centres + 1], -1) / 128
    seen = watch(lambda: model(input_ids=ids, bbox=boxes), **modules)
    extras = dict(zip(("table", "table_horizontal", "table_vertical"), biases))
    extras["positions"] = torch.cat([torch.arange(64)[None], centres[0].T])
    source = {"class": "UdopEncoderModel", "config": arguments, "layer": 0}
    what = "Three tables by T5's buckets: of positions, and of the columns and rows of boxes, without a scale."
    recorder.add("udop", source, what, attention(seen, 4) | extras)


def layoutlmv3(recorder):
    arguments = SMALL | {"coordinate_size": 12, "shape_size": 8, "visual_embed": False}
    arguments |= {"max_2d_position_embeddings": 512}
    model = build(15, "LayoutLMv3Model", "LayoutLMv3Config", arguments)
    layer = model.encoder.layer[0].attention.self
    spread(1.5, layer.query, layer.key)
    spread(1, layer.value)
    encoder = model.encoder
    weights = [bias.weight for bias in (encoder.rel_pos_bias, encoder.rel_pos_x_bias, encoder.rel_pos_y_bias)]
    draw(4, *weights)
    ids = tokens(1, 64)
    corners = torch.randint(0, 400, (1, 64, 2))
    boxes = torch.cat([corners, corners + torch.randint(1, 100, (1, 64, 2))], -1)
    output = encoder.layer[0].attention.output.dense
    modules = {"q": layer.query, "k": layer.key, "v": layer.value, "out": output}
    seen = watch(lambda: model(input_ids=ids, bbox=boxes), **modules)
    extras = dict(zip(("table", "table_horizontal", "table_vertical"), [weight.T / 4 for weight in weights]))
    extras["positions"] = torch.stack([torch.arange(64), boxes[0, :, 0], boxes[0, :, 3]])
    source = {"class": "LayoutLMv3Model", "config": arguments, "layer": 0}
    what = "Three tables by buckets: of positions, left edges and lower edges; the tables are given over sqrt(d)."
    recorder.add("layoutlmv3", source, what, attention(seen, 4) | extras)


def gemma3_image(recorder):
    text = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16}
    text |= {"num_key_value_heads": 2, "intermediate_size": 64, "sliding_window": 12, "query_pre_attn_scalar": 24}
    text |= {"layer_types": ["sliding_attention", "full_attention"]}
    full = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
    local = {"rope_type": "default", "rope_theta": 1e4}
    text |= {"rope_parameters": {"full_attention": full, "sliding_attention": local}}
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    arguments = {"text_config": text, "vision_config": vision | {"image_size": 28, "patch_size": 14}}
    model = build(16, "Gemma3Model", "Gemma3Config", arguments)
    ids = tokens(1, 64, 60)
    kinds = torch.zeros(1, 64, dtype=torch.long)
    last = torch.arange(1, 65)
    for first, end in ((5, 23), (36, 50)):
        kinds[:, first:end] = 1
        last[first:end] = end
    for number, kind in enumerate(["sliding", "full"]):
        layer = model.language_model.layers[number].self_attn
        spread(1, layer.q_proj, layer.k_proj, layer.v_proj)
        draw(0.5, layer.q_norm.weight, layer.k_norm.weight)
        modules = {"q": layer.q_norm, "k": layer.k_norm, "v": layer.v_proj, "out": layer.o_proj}
        seen = watch(lambda: model(input_ids=ids, token_type_ids=kinds), **modules)
        arrays = {"q": seen["q"], "k": seen["k"], "v": by_head(seen["v"], 2), "out": by_head(seen["out"], 4)}
        source = {"class": "Gemma3Model", "config": arguments, "layer": number}
        window = ", in a window of 12" if kind == "sliding" else ""
        what = f"Causal, but the tokens of each of two images see each other{window}; rotated."
        recorder.add(f"gemma3_image_{kind}", source, what, arrays | {"last": last})


def glm_moe_dsa(recorder):
    arguments = SMALL | {"num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16}
    arguments |= {"qk_rope_head_dim": 8, "v_head_dim": 16, "index_topk": 12, "index_n_heads": 4, "index_head_dim": 16}
    arguments |= {"mlp_layer_types": ["dense"], "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    model = build(17, "GlmMoeDsaModel", "GlmMoeDsaConfig", arguments)
    layer = model.layers[0].self_attn
    spread(1.5, layer.q_b_proj, layer.kv_a_proj_with_mqa, layer.kv_b_proj)
    spread(1, layer.q_a_proj, layer.indexer.wq_b, layer.indexer.wk, layer.indexer.weights_proj)
    ids = tokens(1, 64)
    modules = {"q": layer.q_b_proj, "shared": layer.kv_a_proj_with_mqa, "own": layer.kv_b_proj, "out": layer.o_proj}
    seen = watch(lambda: model(input_ids=ids), selected=layer.indexer, **modules)
    own, v = by_head(seen["own"].flatten(2) if seen["own"].dim() == 3 else seen["own"][:, 0], 4).split(16, -1)
    k = torch.cat([own, seen["shared"][:, None, :, 32:].expand(-1, 4, -1, -1)], -1)
    selected = seen["selected"].long()
    seen_by_query = selected <= torch.arange(64)[None, :, None]
    selected = selected.masked_fill(~seen_by_query, 64).sort(-1).values
    selected = selected.masked_fill(selected == 64, -1)[:, None]
    arrays = {"q": by_head(seen["q"], 4), "k": k, "v": v, "out": by_head(seen["out"], 4), "selected": selected}
    source = {"class": "GlmMoeDsaModel", "config": arguments, "layer": 0}
    what = "Each query sees 12 keys that an indexer selected; the last 8 of 24 channels are rotated in adjacent pairs."
    recorder.add("glm_moe_dsa", source, what, arrays)


def whisper(recorder):
    arguments = {"vocab_size": 64, "d_model": 64, "num_mel_bins": 16, "encoder_layers": 1, "decoder_layers": 1}
    arguments |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_source_positions": 56}
    arguments |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_target_positions": 32, "pad_token_id": 0}
    arguments |= {"bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 1}
    model = build(18, "WhisperModel", "WhisperConfig", arguments)
    features = torch.randn(1, 16, 112)
    ids = tokens(1, 24)
    cases = {"encoder": model.encoder.layers[0].self_attn, "cross": model.decoder.layers[0].encoder_attn}
    for name, layer in cases.items():
        spread(1.5, layer.q_proj, layer.k_proj)
        spread(1, layer.v_proj)
        modules = {"q": layer.q_proj, "k": layer.k_proj, "v": layer.v_proj, "out": layer.out_proj}
        seen = watch(lambda: model(input_features=features, decoder_input_ids=ids), **modules)
        source = {"class": "WhisperModel", "config": arguments, "layer": 0}
        what = "Plain, bidirectional." if name == "encoder" else "Cross-attention of 24 queries to 56 keys."
        recorder.add(f"whisper_{name}", source, what, attention(seen, 4))


def beit(recorder):
    arguments = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    arguments |= {"image_size": 24, "patch_size": 4, "use_relative_position_bias": True, "out_indices": [1]}
    model = build(19, "BeitModel", "BeitConfig", arguments)
    layers = [module for module in model.modules() if type(module).__name__ == "BeitAttention"]
    biases = [module for module in model.modules() if type(module).__name__ == "BeitRelativePositionBias"]
    layer = layers[0]
    spread(1.5, layer.q_proj, layer.k_proj)
    spread(1, layer.v_proj)
    draw(1, biases[0].relative_position_bias_table)
    pixels = torch.randn(1, 3, 24, 24)
    modules = {"q": layer.q_proj, "k": layer.k_proj, "v": layer.v_proj, "out": layer.o_proj}
    seen = watch(lambda: model(pixel_values=pixels), additive=biases[0], **modules)
    source = {"class": "BeitModel", "config": arguments, "layer": 0}
    what = "Bias from a table by offsets of 6 x 6 patches and one token before them, given as a matrix."
    recorder.add("beit", source, what, attention(seen, 4) | {"additive": seen["additive"]})


def swin(recorder):
    arguments = {"image_size": 32, "patch_size": 2, "embed_dim": 32, "depths": [2], "num_heads": [2], "window_size": 8}
    model = build(20, "SwinModel", "SwinConfig", arguments)
    block = model.encoder.layers[0].blocks[1]
    layer = block.attention
    spread(1.5, layer.q_proj, layer.k_proj)
    spread(1, layer.v_proj)
    draw(1, layer.relative_position_bias.relative_position_bias_table)
    pixels = torch.randn(1, 3, 32, 32)
    modules = {"q": layer.q_proj, "k": layer.k_proj, "v": layer.v_proj, "out": layer.o_proj}
    masks = []
    hook = layer.register_forward_pre_hook(lambda m, inputs, named: masks.append((inputs, named)), with_kwargs=True)
    seen = watch(lambda: model(pixel_values=pixels), additive=layer.relative_position_bias, **modules)
    hook.remove()
    inputs, named = masks[0]
    mask = named["attention_mask"] if "attention_mask" in named else inputs[1]
    source = {"class": "SwinModel", "config": arguments, "layer": 1}
    what = "Two shifted windows of 8 x 8 as a batch: a table by offsets, and -100 between regions, given as a matrix."
    arrays = attention(seen, 2) | {"additive": seen["additive"] + mask[:, None]}
    recorder.add("swin", source, what, {name: array[2:] for name, array in arrays.items()})


def record(recorder):
    t5_encoder(recorder)
    t5_decoder(recorder)
    mpnet(recorder)
    wavlm(recorder)
    bloom(recorder)
    mpt(recorder)
    falcon_alibi(recorder)
    deberta_v2(recorder)
    wav2vec2_bert(recorder)
    parakeet(recorder)
    inkling(recorder)
    inkling2(recorder)
    gemma4_audio(recorder)
    udop(recorder)
    layoutlmv3(recorder)
    gemma3_image(recorder)
    glm_moe_dsa(recorder)
    whisper(recorder)
    beit(recorder)
    swin(recorder)
