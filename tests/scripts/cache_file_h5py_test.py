#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cache_file_h5py_test.py TOOL: files of kvviz open with h5py as docs/cache_file.md and docs/result_file.md say, and files
of scripts/export_hf_cache.py open with kvviz. TOOL is cache_file_tool."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
from export_hf_cache import ExportError, export_cache, token_texts  # noqa: E402

TOOL = sys.argv.pop(1)


def tool(*arguments):
    done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{TOOL} {arguments}: exit code {done.returncode}: {done.stderr}")
    return done.stdout


def dumped(*files):
    return [json.loads(line) for line in tool("dump", *files).splitlines()]


def pattern(shape, first):
    """What sample_cache.hpp fills its tensors with."""
    count = int(np.prod(shape))
    return ((((first + np.arange(count)) % 61) - 30) / 8).astype(np.float32).reshape(shape)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class WrittenByKvviz(Folder):
    def test_files(self):
        tool("write", self.folder)
        for dtype, stored in {"f32": np.float32, "f16": np.float16, "bf16": np.float32}.items():
            with self.subTest(dtype), h5py.File(self.folder / f"{dtype}.h5") as file:
                self.check_cache(file, dtype, stored)
        with self.subTest("queries"), h5py.File(self.folder / "queries.h5") as file:
            self.check_queries(file)
        with self.subTest("arrays"), h5py.File(self.folder / "arrays.h5") as file:
            self.check_arrays(file)

    def check_cache(self, file, dtype, stored):
        text = {name: value.decode() for name, value in file.attrs.items() if isinstance(value, bytes)}
        self.assertEqual(file.attrs["kvviz_schema"], 1)
        self.assertEqual(file.attrs["rotary_dim"], 4)
        self.assertEqual(text["dtype"], dtype)
        self.assertEqual(text["key_basis"], "post_rope")
        self.assertEqual(text["rope_pairing"], "half")
        self.assertEqual(text["command"], "a command")
        self.assertEqual(text["bos"], "on")
        self.assertEqual(set(file.attrs), set(text) | {"kvviz_schema", "rotary_dim"})
        for name in ("model", "model_sha256", "architecture", "created"):
            self.assertEqual(text[name], "")
        self.assertRegex(text["kvviz_version"], r"^\d+\.\d+\.\d+$")

        self.assertEqual(file["tokens/id"].dtype, np.int32)
        self.assertEqual(file["tokens/id"][:].tolist(), [1, 12, 23, 34, 45])
        self.assertEqual(file["tokens/position"][:].tolist(), [0, 1, 2, 3, 4])
        self.assertEqual(list(file["tokens/text"].asstr()[:]), ["<s>", " Paris", "\n", "été", "🗼"])

        shapes = [((2, 5, 4), (2, 5, 4), 4, 0), ((1, 5, 8), (1, 5, 6), 4, 3), ((4, 5, 4), (4, 5, 4), 0, 0)]
        self.assertEqual(list(file["layers"]), ["0000", "0001", "0002"])
        for i, (key, value, query_heads, window) in enumerate(shapes):
            layer = file[f"layers/{i:04d}"]
            self.assertEqual(layer["key"].dtype, stored)
            np.testing.assert_array_equal(layer["key"][:].astype(np.float32), pattern(key, 7 * i), strict=True)
            np.testing.assert_array_equal(layer["value"][:].astype(np.float32), pattern(value, 7 * i + 3), strict=True)
            self.assertEqual(layer["key"].chunks, (1, *key[1:]))
            self.assertTrue(layer["key"].fletcher32)
            self.assertEqual(layer.attrs["query_heads"], query_heads)
            self.assertEqual(layer.attrs["window"], window)
            self.assertEqual(layer.attrs["dtype"].decode(), dtype)

    def check_queries(self, file):
        self.assertEqual(file["tokens/nll"][:].tolist(), [0.1, 2.5, 1 / 3, 7])
        self.assertEqual(file["tokens/top1"].dtype, np.int32)
        self.assertEqual(file["tokens/top1"][:].tolist(), [0, 1, 1, 0])
        shapes = [((4, 5, 4), 0.1, 0), ((4, 5, 8), 0.25, 30), ((8, 5, 4), 1 / 3, 0)]
        for i, (shape, scale, softcap) in enumerate(shapes):
            layer = file[f"layers/{i:04d}"]
            np.testing.assert_array_equal(layer["query"][:], pattern(shape, 21 + 3 * i), strict=True)
            self.assertEqual(layer["query"].chunks, (1, *shape[1:]))
            self.assertTrue(layer["query"].fletcher32)
            self.assertEqual((layer.attrs["scale"], layer.attrs["softcap"]), (scale, softcap))
            self.assertEqual("alibi_slopes" in layer, i == 1)
        slopes = file["layers/0001/alibi_slopes"]
        np.testing.assert_array_equal(slopes[:], np.array([0.5, 0.25, 0.1, 0.0625], np.float32), strict=True)

    def check_arrays(self, file):
        self.assertEqual(file.attrs["kvviz_array_schema"], 1)
        mass = file["attention/mass"]
        np.testing.assert_array_equal(mass[:], np.array([[0.25, 0.5, 0.75], [1, 1.25, 1.5]]), strict=True)
        self.assertEqual([axis.decode() for axis in mass.attrs["axes"]], ["layer", "key"])
        self.assertEqual(mass.attrs["unit"].decode(), "nats")
        self.assertEqual(mass.attrs["meaning"].decode(), "an example")


class Bfloat16:
    """As much of a torch.bfloat16 tensor as the exporter touches."""
    dtype = "torch.bfloat16"

    def __init__(self, wide):
        self.wide, self.shape = wide, wide.shape

    def __getitem__(self, index):
        return Bfloat16(self.wide[index])

    def detach(self):
        return self

    cpu = detach

    def float(self):
        return self

    def numpy(self):
        return self.wide


class Config:
    model_type = "llama"
    num_attention_heads = 4
    hidden_size = 16
    sliding_window = 7
    layer_types = ["full_attention", "sliding_attention"]


class Layers:
    """A cache in the manner of transformers 4.54 and later."""
    def __init__(self, pairs):
        self.layers = [type("Layer", (), {"keys": k, "values": v})() for k, v in pairs]


class Lists:
    """A cache in the manner of transformers 4.36 to 4.53."""
    def __init__(self, pairs):
        self.key_cache, self.value_cache = map(list, zip(*pairs))


class StaticCache(Layers):
    pass


class ByteLevel:
    """A tokenizer that spells bytes as GPT-2 does."""
    byte_decoder = {}
    all_special_tokens = ["<s>"]
    pieces = {0: "<s>", 1: "ĠParis", 2: "Ċ", 3: "Ã©", 4: "Ã"}

    def convert_ids_to_tokens(self, ids):
        return [self.pieces[i] for i in ids]


class ReadByKvviz(Folder):
    def setUp(self):
        super().setUp()
        shape = (2, 2, 5, 4)
        self.pairs = [(pattern(shape, 9 * i), pattern(shape, 9 * i + 4)) for i in range(2)]
        self.ids = np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
        self.file = self.folder / "cache.h5"

    def exported(self, cache, **options):
        export_cache(cache, self.file, self.ids, **({"model_config": Config()} | options))
        return dumped(self.file)[0]

    def check_values(self, got, dtype, batch):
        for i, pair in enumerate(self.pairs):
            for name, want in zip(("key", "value"), pair):
                tensor = got["layers"][i][name]
                self.assertEqual(tensor["dtype"], dtype)
                self.assertEqual(tensor["shape"], [2, 5, 4])
                self.assertEqual(tensor["values"], want[batch].ravel().tolist())

    def test_every_kind_of_cache(self):
        longer = [tuple(np.concatenate([t, t], axis=2) for t in pair) for pair in self.pairs]
        wrapped = type("EncoderDecoderCache", (), {"self_attention_cache": Layers(self.pairs)})()
        kinds = {"tuples": tuple(self.pairs), "layers": Layers(self.pairs), "lists": Lists(self.pairs),
                 "static": StaticCache(longer), "encoder-decoder": wrapped}
        files = []
        for name, cache in kinds.items():
            files.append(self.folder / f"{name}.h5")
            export_cache(cache, files[-1], self.ids, model_config=Config(), batch=1)
        for name, got in zip(kinds, dumped(*files), strict=True):
            with self.subTest(name):
                self.check_values(got, "f32", 1)
                self.assertEqual(got["ids"], self.ids[1].tolist())

    def test_every_dtype(self):
        half = [tuple(t.astype(np.float16) for t in pair) for pair in self.pairs]
        self.check_values(self.exported(half, gzip=4), "f16", 0)
        bfloat16 = [tuple(Bfloat16(t) for t in pair) for pair in self.pairs]
        self.check_values(self.exported(bfloat16), "bf16", 0)

    def test_what_the_file_says(self):
        got = self.exported(self.pairs, tokenizer=ByteLevel(), bos=True, model="a model", created="2025-01-01T00:00:00Z")
        self.assertEqual(got["text"], ["<s>", " Paris", "\n", "é", "<0xC3>"])
        self.assertEqual(got["positions"], [0, 1, 2, 3, 4])
        self.assertEqual([layer["window"] for layer in got["layers"]], [0, 7])
        self.assertEqual([layer["query_heads"] for layer in got["layers"]], [4, 4])
        self.assertEqual((got["post_rope"], got["pairing"], got["rotary_dim"]), (True, 1, 4))
        self.assertEqual((got["bos"], got["model"], got["architecture"]), ("on", "a model", "llama"))
        got = self.exported(self.pairs, model_config=None, rope_pairing="interleaved", rotary_dim=2,
                            key_basis="pre_rope", windows=[0, 3], query_heads=2, positions=[0, 1, 5, 6, 7])
        self.assertEqual((got["post_rope"], got["pairing"], got["rotary_dim"]), (False, 2, 2))
        self.assertEqual(got["positions"], [0, 1, 5, 6, 7])
        self.assertEqual([layer["window"] for layer in got["layers"]], [0, 3])

    def test_refusals_write_nothing(self):
        short = [(k[:, :, :3], v[:, :, :3]) for k, v in self.pairs]
        double = [(k.astype(np.float64), v) for k, v in self.pairs]
        unknown = type("Config", (Config,), {"model_type": "new"})()
        for message, cache, options in (
                ("keeps only its window", short, {}), ("float64", double, {}), ("got dict", {}, {}),
                ("no layer", (), {}), ("not known here", self.pairs, {"model_config": unknown}),
                ("give model_config", self.pairs, {"model_config": None}),
                ("positions", self.pairs, {"positions": [0]}), ("key_basis", self.pairs, {"key_basis": "rotated"}),
                ("no keys and values", Layers([(None, None)]), {})):
            with self.subTest(message):
                with self.assertRaisesRegex(ExportError, message):
                    self.exported(cache, **options)
                self.assertEqual(os.listdir(self.folder), [])

    def test_strings_of_variable_length(self):
        """What h5py writes when it is given str objects."""
        export_cache(self.pairs, self.file, self.ids, model_config=Config())
        with h5py.File(self.file, "a") as file:
            del file["tokens/text"]
            file["tokens/text"] = ["ä", "", "c", "d", "e"]
            file.attrs["model"] = "a name"
        got = dumped(self.file)[0]
        self.assertEqual(got["text"], ["ä", "", "c", "d", "e"])
        self.assertEqual(got["model"], "a name")


class Tokens(unittest.TestCase):
    def test_sentencepiece_spaces(self):
        class SentencePiece:
            all_special_tokens = ["<s>"]

            def convert_ids_to_tokens(self, ids):
                return ["<s>", "\u2581Paris", "<0xE4>"][:len(ids)]
        self.assertEqual(token_texts(SentencePiece(), [0, 1, 2]), ["<s>", " Paris", "<0xE4>"])
        self.assertEqual(token_texts(None, [0, 1]), ["", ""])


if __name__ == "__main__":
    unittest.main()
