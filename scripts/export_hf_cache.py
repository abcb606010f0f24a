#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the KV cache of a Hugging Face model to a kvviz cache file (schema 1, docs/cache_file.md).

As a function, after a forward pass of your own:

    from export_hf_cache import export_cache
    out = model(input_ids, use_cache=True)
    export_cache(out.past_key_values, "cache.h5", input_ids, tokenizer=tokenizer, model_config=model.config)

As a program:

    export_hf_cache.py --model DIR --text "some text" --out cache.h5
    kvviz analyze --cache cache.h5

Needs h5py and numpy; the program also needs torch and transformers. Reads DynamicCache (4.36 and later, 5.x),
StaticCache, the self-attention half of an EncoderDecoderCache and legacy tuples. Keys in these caches are rotated
already, so key_basis is "post_rope" unless said otherwise.
"""
import argparse
import json
import os
import sys

import h5py
import numpy as np

SCHEMA = 1
CHUNK_BYTES = 8 << 20

# How each model type pairs key channels under RoPE. Not listed: say it with rope_pairing and rotary_dim.
NO_ROPE = {"gpt2", "gpt_bigcode", "gpt_neo", "opt", "bloom", "mpt", "xglm", "openai-gpt"}
HALF = {"llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3",
        "gemma3_text", "phi", "phi3", "olmo", "olmo2", "stablelm", "starcoder2", "gpt_neox", "falcon", "granite",
        "smollm3", "gpt_oss", "persimmon", "nemotron"}
INTERLEAVED = {"gptj", "codegen", "cohere", "cohere2"}


class ExportError(ValueError):
    """The cache, the model or the arguments do not give a cache file; the message says what to do."""


def require(condition, message):
    if not condition:
        raise ExportError(message)


def to_array(tensor):
    """(numpy array, dtype name) of a torch tensor or a numpy array; bf16 is widened to f32, which is exact."""
    dtype = str(tensor.dtype).replace("torch.", "")
    names = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
    require(dtype in names, f"keys and values are {dtype}; expected float32, float16 or bfloat16")
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        tensor = (tensor.float() if dtype == "bfloat16" else tensor).numpy()
    return np.ascontiguousarray(tensor), names[dtype]


def layer_pairs(cache):
    """[(key, value), ...] of the layers, each [batch, heads, tokens, channels], from any of the known cache types."""
    cache = getattr(cache, "self_attention_cache", cache)
    if hasattr(cache, "layers"):
        pairs = []
        for i, layer in enumerate(cache.layers):
            keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
            require(keys is not None and values is not None,
                    f"layer {i} ({type(layer).__name__}) holds no keys and values: run the model first, and note that "
                    "layers without attention have none to export")
            require(not hasattr(layer, "_quantized_keys"), f"layer {i} is quantized; export an ordinary cache")
            pairs.append((keys, values))
        return pairs
    if hasattr(cache, "key_cache"):
        require(not hasattr(cache, "_quantized_key_cache"), "the cache is quantized; export an ordinary cache")
        return list(zip(cache.key_cache, cache.value_cache))
    require(isinstance(cache, (tuple, list)), f"got {type(cache).__name__}; expected a DynamicCache, a StaticCache or "
            "tuples (key, value) per layer")
    return [(layer[0], layer[1]) for layer in cache]


def byte_of_character():
    """The inverse of GPT-2's printable spelling of bytes."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(b): b for b in plain}
    others = (b for b in range(256) if b not in plain)
    table.update({chr(256 + i): b for i, b in enumerate(others)})
    return table


def is_byte_level(tokenizer):
    if hasattr(tokenizer, "byte_decoder"):
        return True
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and '"ByteLevel"' in json.dumps(json.loads(backend.to_str()).get("decoder"))


def token_texts(tokenizer, ids):
    """The text of each token as it stands in the text, spaces included; bytes that are not UTF-8 as <0xE4>."""
    if tokenizer is None:
        return [""] * len(ids)
    pieces = tokenizer.convert_ids_to_tokens([int(i) for i in ids])
    special = set(tokenizer.all_special_tokens)
    table = byte_of_character() if is_byte_level(tokenizer) else None
    texts = []
    for piece in pieces:
        if piece is None or piece in special or table is None or any(c not in table for c in piece):
            texts.append((piece or "").replace("\u2581", " "))
            continue
        raw = bytes(table[c] for c in piece)
        try:
            texts.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            texts.append("".join(f"<0x{b:02X}>" for b in raw))
    return texts


def text_config(config):
    """The part of a config that describes the language model."""
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def rope_of(config):
    """(pairing, rotary_dim) of a model config; ExportError when its type is not known here."""
    kind = config.model_type
    if kind in NO_ROPE or getattr(config, "alibi", False):
        return "none", 0
    require(kind in HALF | INTERLEAVED,
            f"how {kind} pairs channels under RoPE is not known here: give rope_pairing (none, half or interleaved) and "
            "rotary_dim")
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    explicit = getattr(config, "rotary_dim", None)
    # transformers 5 keeps the share in rope_parameters.
    parameters = getattr(config, "rope_parameters", None) or {}
    share = (parameters.get("partial_rotary_factor") or getattr(config, "partial_rotary_factor", None)
             or getattr(config, "rotary_pct", None) or 1.0)
    return ("half" if kind in HALF else "interleaved"), int(explicit or head_dim * share)


def window_of(config, layer):
    """Sliding window of a layer in tokens; 0: none."""
    window = getattr(config, "sliding_window", None) or 0
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return window if kinds[layer] == "sliding_attention" else 0
    return window if getattr(config, "use_sliding_window", True) else 0


def write_text(attributes, name, text):
    data = text.replace("\0", "<0x00>").encode("utf-8")
    attributes.create(name, data, dtype=h5py.string_dtype("utf-8", max(len(data), 1)))


def write_array(group, name, array, chunks, gzip):
    options = {"compression": "gzip", "compression_opts": gzip, "shuffle": True} if gzip else {}
    group.create_dataset(name, data=array, chunks=chunks, fletcher32=True, track_times=False, **options)


def export_cache(cache, path, input_ids, tokenizer=None, model_config=None, *, positions=None, key_basis="post_rope",
                 rope_pairing=None, rotary_dim=None, windows=None, query_heads=None, model="", model_sha256="",
                 bos=None, command="export_hf_cache.py", created="", gzip=0, batch=0):
    """Writes `cache` to the file `path`, whole or not at all.

    cache         keys and values of every layer, [batch, kv_heads, tokens, head_dim], float32, float16 or bfloat16
    input_ids     the ids that filled the cache: a list, or an array or tensor of one row or [batch, tokens]
    tokenizer     gives the text of each token (optional)
    model_config  gives query heads, sliding windows and RoPE pairing; what is given explicitly goes before it
    positions     position of each token (default 0, 1, 2, ...)
    bos           True, False or None (not known): whether the tokenizer put a BOS first
    created       ISO 8601 time, stated as given
    gzip          0 (not compressed) to 9
    batch         row of the batch to write
    Raises ExportError, before anything is written, when the parts do not fit together.
    """
    config = text_config(model_config) if model_config is not None else None
    if hasattr(input_ids, "detach"):
        input_ids = input_ids.detach().cpu().numpy()
    ids = np.asarray(input_ids)
    ids = ids[batch] if ids.ndim == 2 else ids
    require(ids.ndim == 1 and ids.size > 0 and np.issubdtype(ids.dtype, np.integer),
            f"input_ids: got shape {ids.shape} of {ids.dtype}; expected a row of integers")
    tokens = ids.size
    positions = np.arange(tokens) if positions is None else np.asarray(positions)
    require(positions.shape == (tokens,), f"positions: got shape {positions.shape}; expected ({tokens},)")
    for name, numbers in (("input_ids", ids), ("positions", positions)):
        require(numbers.min() >= 0 and numbers.max() < 2**31, f"{name}: expected numbers from 0 to 2^31 - 1")
    if rope_pairing is None:
        require(config is not None or key_basis == "pre_rope",
                "give model_config, or rope_pairing (none, half or interleaved) and rotary_dim")
        rope_pairing, known_dim = rope_of(config) if config is not None else ("none", 0)
        rotary_dim = known_dim if rotary_dim is None else rotary_dim
    require(rope_pairing in ("none", "half", "interleaved"), f"rope_pairing: got {rope_pairing!r}")
    require(key_basis in ("pre_rope", "post_rope"), f"key_basis: got {key_basis!r}; expected pre_rope or post_rope")
    require(rope_pairing == "none" or rotary_dim, "rotary_dim: expected the number of rotated channels")
    if query_heads is None:
        query_heads = getattr(config, "num_attention_heads", 0)

    pairs = layer_pairs(cache)
    require(pairs, "the cache has no layer")
    layers = []
    for i, pair in enumerate(pairs):
        arrays = []
        for name, tensor in zip(("key", "value"), pair):
            require(len(tensor.shape) == 4, f"layer {i} {name}: got shape {tuple(tensor.shape)}; expected [batch, "
                    "kv_heads, tokens, head_dim]")
            # A static cache is longer than what it holds.
            longer = type(cache).__name__.startswith("Static") and tensor.shape[2] > tokens
            tensor = tensor[batch, :, :tokens] if longer else tensor[batch]
            require(tensor.shape[1] == tokens, f"layer {i} {name}: holds {tensor.shape[1]} tokens, input_ids has "
                    f"{tokens}; a sliding-window cache keeps only its window: run the model with "
                    "past_key_values=DynamicCache()")
            arrays.append(tensor)
        layers.append(arrays)

    folder = os.path.dirname(os.path.abspath(path))
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}")
    try:
        with h5py.File(temporary, "w", libver=("v110", "v110")) as out:
            dtypes = []
            write_array(out, "tokens/id", ids.astype("<i4"), None, gzip)
            write_array(out, "tokens/position", positions.astype("<i4"), None, gzip)
            texts = [t.replace("\0", "<0x00>").encode("utf-8") for t in token_texts(tokenizer, ids)]
            strings = np.array(texts, dtype=h5py.string_dtype("utf-8", max(1, *map(len, texts))))
            out.create_dataset("tokens/text", data=strings, fletcher32=True, compression="gzip", track_times=False)
            for i, arrays in enumerate(layers):
                group = out.create_group(f"layers/{i:04d}")
                for name, tensor in zip(("key", "value"), arrays):
                    array, dtype = to_array(tensor)
                    rows = max(1, CHUNK_BYTES // (array.shape[2] * array.itemsize))
                    write_array(group, name, array, (1, min(tokens, rows), array.shape[2]), gzip)
                dtypes.append(dtype)
                write_text(group.attrs, "dtype", dtype)
                group.attrs["query_heads"] = np.int64(query_heads)
                window = windows[i] if windows is not None else (window_of(config, i) if config is not None else 0)
                group.attrs["window"] = np.int64(window or 0)
            out.attrs["kvviz_schema"] = np.int64(SCHEMA)
            out.attrs["rotary_dim"] = np.int64(rotary_dim or 0)
            for name, text in {
                "kvviz_version": "",
                "command": command,
                "model": model,
                "model_sha256": model_sha256,
                "architecture": getattr(config, "model_type", ""),
                "dtype": dtypes[0] if len(set(dtypes)) == 1 else "mixed",
                "key_basis": key_basis,
                "rope_pairing": rope_pairing,
                "bos": {True: "on", False: "off", None: "unknown"}[bos],
                "created": created,
            }.items():
                write_text(out.attrs, name, text)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Run a Hugging Face model on a text and write its KV cache for kvviz.")
    parser.add_argument("--model", required=True, help="model folder, or a hub id that is in the local cache")
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", help="the text")
    text.add_argument("--text-file", help="a file with the text")
    parser.add_argument("--out", required=True, help="cache file to write")
    parser.add_argument("--max-tokens", type=int, help="cut the text to this many tokens")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--gzip", type=int, choices=range(10), default=0, help="compression, 0 (none) to 9")
    parser.add_argument("--rope-pairing", choices=("none", "half", "interleaved"))
    parser.add_argument("--rotary-dim", type=int)
    options = parser.parse_args(arguments)

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model).to(options.device, getattr(torch, options.dtype)).eval()
    if options.text_file:
        with open(options.text_file, encoding="utf-8") as file:
            options.text = file.read()
    ids = tokenizer(options.text, return_tensors="pt").input_ids[:, :options.max_tokens]
    require(ids.shape[1] > 0, "the text has no token")
    with torch.no_grad():
        cache = model(ids.to(options.device), past_key_values=DynamicCache(), use_cache=True).past_key_values
    export_cache(cache, options.out, ids, tokenizer, model.config, rope_pairing=options.rope_pairing,
                 rotary_dim=options.rotary_dim, model=options.model, gzip=options.gzip,
                 bos=bool(tokenizer.bos_token_id is not None and ids[0, 0] == tokenizer.bos_token_id),
                 command=" ".join(["export_hf_cache.py", *(arguments or sys.argv[1:])]))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"export_hf_cache.py: {error}")
