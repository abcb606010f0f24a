// SPDX-License-Identifier: MIT
// Lower triangles of attention weights, pooled into bins where a text is longer than there is room for.

/**
 * A matrix that the server pooled: [bins, bins], row by row, of `count` tokens. Token i is in bin floor(i * bins /
 * count).
 */
export class PooledMatrix {
  constructor(data, bins, count) { Object.assign(this, {data, bins, count}); }

  /** The first token of a bin; that of bin `bins` is `count`. */
  first(bin) { return Math.ceil((bin * this.count) / this.bins); }

  value(query, key) { return this.data[query * this.bins + key]; }
}

/** A matrix that grows by one query at a time. At most `maxBins` bins, each of the same number of tokens. */
export class GrowingMatrix {
  constructor(maxBins = 240) {
    this.maxBins = maxBins;
    this.clear();
  }

  clear() {
    this.rows = [];
    this.columns = [];  // sums of weights over queries, by key
    this.behind = [];   // without the weight of a query on itself
    this.size = 1;
    this.sums = new Float64Array(this.maxBins * this.maxBins);
    this.queries = new Uint32Array(this.maxBins);
  }

  get count() { return this.rows.length; }

  get bins() { return Math.ceil(this.rows.length / this.size); }

  first(bin) { return Math.min(bin * this.size, this.rows.length); }

  value(query, key) { return this.sums[query * this.maxBins + key] / this.queries[query]; }

  /** `row` holds the weights of the next query on keys 0 to itself. */
  push(row) {
    const query = this.rows.length;
    this.rows.push(row);
    this.columns.push(0);
    this.behind.push(0);
    for (let key = 0; key <= query; ++key) {
      this.columns[key] += row[key];
      if (key < query) this.behind[key] += row[key];
    }
    if (query >= this.size * this.maxBins) {
      this.size *= 2;
      this.sums.fill(0);
      this.queries.fill(0);
      this.rows.forEach((_, i) => this.#add(i));
    } else {
      this.#add(query);
    }
  }

  #add(query) {
    const row = this.rows[query];
    const bin = Math.floor(query / this.size);
    const start = bin * this.maxBins;
    ++this.queries[bin];
    for (let key = 0; key <= query; ++key) this.sums[start + Math.floor(key / this.size)] += row[key];
  }

  /** Mean weight of key `key` from the queries at or behind it. */
  mean(key) { return this.columns[key] / (this.count - key); }

  /** Mean weight of key `key` from the queries behind it; NaN where there is none. */
  meanBehind(key) { return this.behind[key] / (this.count - 1 - key); }
}

/** Draws `matrix` with one pixel a cell into `canvas`; what lies above the diagonal stays transparent. */
export function paint(canvas, matrix, colours, place) {
  const bins = Math.max(1, matrix.bins);
  canvas.width = bins;
  canvas.height = bins;
  const context = canvas.getContext("2d");
  const image = context.createImageData(bins, bins);
  const pixels = new Uint32Array(image.data.buffer);
  for (let query = 0; query < matrix.bins; ++query) {
    for (let key = 0; key <= query; ++key) {
      const t = place(Math.min(1, Math.max(0, matrix.value(query, key))));
      pixels[query * bins + key] = colours[Math.round(255 * t)];
    }
  }
  context.putImageData(image, 0, 0);
}
