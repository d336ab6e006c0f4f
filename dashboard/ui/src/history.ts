// What the table has of one fan: a range that is longer than the server remembers, summed up in parts.

import type { Series } from "./chart";
import { get } from "./store";

/** A range that can be shown; one without parts is live: every reading, as the server remembers them. */
export interface Range {
  label: string;
  seconds: number;
  part?: number; // seconds
}

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** With a table, what is longer than a quarter of an hour comes from it: some 400 parts, of lengths that people say. */
export const ranges: Range[] = [
  { label: "Live 5 min", seconds: 5 * minute },
  { label: "Live 15 min", seconds: 15 * minute },
  { label: "1 h", seconds: hour, part: 10 },
  { label: "24 h", seconds: day, part: 3 * minute },
  { label: "7 d", seconds: 7 * day, part: 20 * minute },
  { label: "30 d", seconds: 30 * day, part: 2 * hour },
];

export const rangesWithoutTable: Range[] = [
  { label: "Live 5 min", seconds: 5 * minute },
  { label: "Live 15 min", seconds: 15 * minute },
  { label: "Live 1 h", seconds: hour },
];

interface Parts {
  t: number[]; // where a part begins
  count: number[];
  kind: string[];
  rpm: { min: number[]; max: number[]; mean: number[] };
  score: { min: number[]; max: number[]; mean: number[] };
  expected?: number[]; // this and the two below as in Series
  low?: number[];
  high?: number[];
}

/** How old a history may become before it is asked for again: readings reach the table once a minute. */
export function keeps(r: Range): number {
  return Math.max(minute, r.part ?? 0) * 1000;
}

/**
 * history asks for the parts that end with the one of now. They begin at whole multiples of their length, so that
 * they do not change with every question.
 */
export async function history(
  fan: string,
  r: Range,
  now: number,
): Promise<{ series: Series; range: [number, number] }> {
  const part = (r.part ?? minute) * 1000;
  const to = (Math.floor(now / part) + 1) * part;
  const from = to - r.seconds * 1000;
  const p = await get<Parts>(
    `api/fans/${encodeURIComponent(fan)}/history?from=${from}&to=${to}&points=${(to - from) / part}`,
  );
  const series: Series = {
    t: p.t.map(t => t + part / 2), // a part is drawn in its middle
    rpm: p.rpm.mean,
    score: p.score.mean,
    kinds: p.t.flatMap((t, i) => [
      { from: t, kind: p.kind[i] ?? "" },
      { from: t + part, kind: "" },
    ]),
    expected: p.expected,
    low: p.low,
    high: p.high,
    parts: { length: part, rpm: p.rpm, score: p.score },
  };
  return { series, range: [from, to] };
}
