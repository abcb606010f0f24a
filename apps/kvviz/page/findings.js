// SPDX-License-Identifier: MIT
// What the numbers of a live stream say, in sentences.
import {count, list, percent, significant, visible} from "./format.js";

const LEAST = 0.005;  // weights below are not worth a word

const quoted = token => `“${visible(token.text)}”`;
const isMark = text => /^<.+>$|^\[.+\]$|^<\|.+\|>$/.test(text.trim());

/** What token 0 would get if each of `size` queries gave every visible key the same: the mean of 1, 1/2, ... 1/size. */
const evenShare = size => Array.from({length: size}, (_, query) => 1 / (query + 1)).reduce((a, b) => a + b, 0) / size;
const where = info => `layer ${info.layer}, ${info.head === "mean" ? "mean of its heads" : `head ${info.head}`}`;

/** What the heat map shows, and whether it is about a sink. */
export function finding({matrix, tokens, marks, info}) {
  const n = matrix.count;
  if (n < 3)
    return {
      text: n === 0 ? "Nothing has been read yet: press Start." : "A few more tokens, and there is something to see.",
      sink: false
    };
  const first = matrix.mean(0);
  const even = evenShare(n);
  const start = `The first token, ${quoted(tokens[0])}, gets ${percent(first)} of the attention (${
    where(info)}, mean of ${count(n)} queries). Shared out evenly it would get ${percent(even)}.`;
  const others = marks.sinks.filter(p => p !== 0);
  const also = others.length > 0 ?
    ` Also above the sink threshold: ${others.length === 1 ? "position" : "positions"} ${list(others)}.` :
    "";
  const hitters = marks.heavy.length > 0 ?
    ` Heavy hitters: ${list(marks.heavy.map(p => `${quoted(tokens[p])} (position ${p})`), 4)}.` :
    "";
  if (marks.sinks.includes(0)) {
    const why = isMark(tokens[0].text) ? "It only marks the beginning of the text, and yet later tokens look at it" :
                                         "Whatever the text goes on to say, later tokens look back at it";
    const verdict = first > 1.5 * even ?
      `${why}: an attention sink.` :
      "That is above the sink threshold, but hardly more than an even share: with few tokens it says little.";
    return {text: `${start} ${verdict}${also}${hitters}`, sink: true};
  }
  return {
    text: `${start} That is below the sink threshold: the first token is no sink here.${also}${
      hitters} Try another layer or head.`,
    sink: marks.sinks.length > 0
  };
}

/** What the newest step did. */
export function lastStep({matrix, tokens, info}) {
  const n = matrix.count;
  if (n === 0) return "";
  const token = tokens[n - 1];
  const row = matrix.rows[n - 1];
  const best = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 3).filter(key => row[key] >= LEAST);
  const parts = best.map(
    key => `${percent(row[key], 0)} to ${key === n - 1 ? "itself" : `${quoted(tokens[key])} (position ${key})`}`);
  const did = token.generated ? "wrote" : "read";
  const surprise = token.nll === null || token.nll === undefined ?
    "" :
    ` Before, it gave this token a probability of ${percent(Math.exp(-token.nll), token.nll > 4.6 ? 2 : 0)} (loss ${
      significant(token.nll, 3)} nats).`;
  return `Step ${n}: the model ${did} ${quoted(token)}.${surprise} This query, in ${where(info)}, gives ${
    parts.join(", ")}.`;
}
