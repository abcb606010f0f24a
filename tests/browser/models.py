# SPDX-License-Identifier: MIT
"""Models that tests put together."""

import json
import shutil
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures/models"


def write_tokenizer(folder, size, added=None):
    """One of `size` tokens: letters, what fills it up, and last `added`."""
    letters = [chr(code) for code in range(33, 127)]
    texts = ["Ġ", *letters, "<s>", "</s>", *(f"unused{i}" for i in range(size))][: size - (added is not None)]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "post_processor": None,
        "added_tokens": [] if added is None else [{"id": size - 1, "content": added, **special}],
        "pre_tokenizer": level,
        "decoder": {**level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {text: index for index, text in enumerate(texts)},
            "merges": [],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def fixture_with_tokenizer(name, folder):
    """A model of the fixtures, which have no tokenizer, as a folder that can be served."""
    shutil.copytree(FIXTURES / name, folder)
    write_tokenizer(folder, json.loads((folder / "config.json").read_text())["vocab_size"])
    return folder
