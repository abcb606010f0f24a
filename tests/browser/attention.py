# SPDX-License-Identifier: MIT
"""Sinks and heavy hitters of docs/http_api.md, computed from a matrix of attention weights without kvviz."""

import numpy

FIRST, LEAST = 16, 4


def marks(matrix, sink_threshold, heavy_threshold):
    """Positions of sinks and of heavy hitters of a lower triangle [queries, keys]."""
    count = len(matrix)
    received = [numpy.mean(matrix[key:, key]) for key in range(count)]
    sinks = [key for key in range(min(FIRST, count)) if received[key] > sink_threshold]
    behind = {key: numpy.mean(matrix[key + 1 :, key]) for key in range(count - LEAST)}
    heavy = [key for key, mass in behind.items() if mass > heavy_threshold and key not in sinks]
    return sinks, heavy


def matrix_of(server, text, layer, head):
    """Every weight of one head, or of the mean over heads."""
    answer = server.matrices("attention", {"text": text, "layer": layer, "heads": head, "bins": 512})
    assert answer["attention"].shape[1] == len(answer["tokens"])
    return answer["attention"][0].astype(float)
