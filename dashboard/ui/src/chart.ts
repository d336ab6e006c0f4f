// Two charts over one time axis: RPM with what was expected and the limits, and the forest's score, both with alert
// marks.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { h } from "./dom";
import { wordsFor } from "./words";

export interface Series {
  t: number[]; // Unix milliseconds, ascending
  rpm: number[];
  score: number[];
  kinds: { from: number; kind: string }[];
  /** What was expected and the band around it, RPM, 0 = nothing; absent where nothing was at any time. */
  expected?: number[] | undefined;
  low?: number[] | undefined;
  high?: number[] | undefined;
  /**
   * Where the values are means of parts: how long a part is in milliseconds, and the least and the greatest value
   * of each.
   */
  parts?: { length: number; rpm: Band; score: Band };
}

export interface Band {
  min: number[];
  max: number[];
}

export interface Marks {
  min: number; // RPM limits, 0 = none
  max: number;
  threshold: number; // of the score when the forest raised the alarm, 0 = none
  alerts: { from: number; to: number; kind: string; open: boolean }[];
}

interface Limit {
  at: number;
  name: string;
}

// Times without AM and PM: there is little room under an axis.
const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const days = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const dayMinutes = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const seconds = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const axisWidth = 56; // the same left of both charts, so that they line up

export class Charts {
  readonly el: HTMLElement;
  private readonly boxes = [
    h("div", { class: "chart", role: "img" }),
    h("div", { class: "chart", role: "img" }),
  ] as const;
  private plots: uPlot[] = [];
  private series: Series = { t: [], rpm: [], score: [], kinds: [] };
  private marks: Marks = { min: 0, max: 0, threshold: 0, alerts: [] };
  private range: [number, number] = [0, 1];
  private readonly sync = uPlot.sync("fan");
  private readonly resized = new ResizeObserver(() => this.resize());
  private readonly dark = matchMedia("(prefers-color-scheme: dark)");
  private readonly rebuild = (): void => this.build();

  constructor() {
    this.el = h("div", { class: "charts" }, h("h2", {}, "RPM"), this.boxes[0], h("h2", {}, "Score"), this.boxes[1]);
    this.resized.observe(this.boxes[0]);
    this.dark.addEventListener("change", this.rebuild);
  }

  /** show draws the readings over [from, to] in Unix milliseconds. */
  show(series: Series, marks: Marks, range: [number, number]): void {
    // bands come or go
    const others = !series.parts !== !this.series.parts || !series.expected !== !this.series.expected;
    this.series = series;
    this.marks = marks;
    this.range = range;
    if (this.plots.length === 0 || others) this.build();
    this.plots.forEach((p, i) => p.setData(this.data(i)));
    this.boxes[0].setAttribute(
      "aria-label",
      `RPM over time. ${spread(series.rpm, series.parts?.rpm, 0)}${sayExpected(series)}${this.sayLimits(0)}`,
    );
    this.boxes[1].setAttribute(
      "aria-label",
      `Score over time. ${spread(series.score, series.parts?.score, 2)}${this.sayLimits(1)}`,
    );
  }

  close(): void {
    this.resized.disconnect();
    this.dark.removeEventListener("change", this.rebuild);
    for (const p of this.plots) p.destroy();
    this.plots = [];
  }

  private limits(i: number): Limit[] {
    const m = this.marks;
    const all =
      i === 0
        ? [
            { at: m.min, name: `lowest ${m.min}` },
            { at: m.max, name: `highest ${m.max}` },
          ]
        : [{ at: m.threshold, name: `threshold ${m.threshold.toFixed(2)}` }];
    return all.filter(l => l.at > 0);
  }

  private sayLimits(i: number): string {
    return this.limits(i)
      .map(l => ` Limit: ${l.name}.`)
      .join("");
  }

  /** data breaks the line where readings are missing, for a line across would claim what was not measured. */
  private data(i: number): uPlot.AlignedData {
    const { t: at, parts } = this.series;
    const band = i === 0 ? parts?.rpm : parts?.score;
    const { expected, low, high } = this.series;
    const judged = i === 0 && expected && low && high ? [high, low, expected].map(v => v.map(x => x || null)) : [];
    const columns: (number | null)[][] = [
      i === 0 ? this.series.rpm : this.series.score,
      ...(band ? [band.max, band.min] : []),
      ...judged,
    ];
    const t: number[] = [];
    const drawn: (number | null)[][] = columns.map(() => []);
    // a fan may report less often than once a part
    const gap = parts ? Math.max(1.5 * parts.length, 3 * median(steps(at))) : 10_000;
    at.forEach((x, j) => {
      const before = at[j - 1];
      if (before !== undefined && x - before > gap) {
        t.push(before + 1);
        drawn.forEach(v => v.push(null));
      }
      t.push(x);
      drawn.forEach((v, c) => v.push(columns[c]?.[j] ?? null));
    });
    return [t, ...drawn] as uPlot.AlignedData;
  }

  private build(): void {
    for (const p of this.plots) p.destroy();
    this.plots = this.boxes.map((box, i) => new uPlot(this.options(i), this.data(i), box));
  }

  private width(): number {
    return Math.max(240, Math.floor(this.boxes[0].getBoundingClientRect().width));
  }

  private resize(): void {
    if (this.boxes[0].getBoundingClientRect().width === 0) return; // hidden: it comes back at the width it had
    const width = this.width();
    for (const p of this.plots) if (p.width !== width) p.setSize({ width, height: p.height });
  }

  private options(i: number): uPlot.Options {
    const css = getComputedStyle(document.documentElement);
    const color = (name: string): string => css.getPropertyValue(name).trim();
    const axis = {
      stroke: color("--quiet"),
      grid: { stroke: color("--line"), width: 1 },
      ticks: { stroke: color("--line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    return {
      width: this.width(),
      height: i === 0 ? 230 : 150,
      ms: 1,
      scales: {
        x: { range: () => this.range },
        y: { range: (_, lo, hi) => this.extent(lo, hi, i) },
      },
      axes: [
        {
          ...axis,
          size: 32,
          space: (_, __, ___, ____, width) => (width < 400 ? 44 : 64),
          values: (_, splits, __, ___, step) =>
            splits.map(v =>
              (step < 60_000
                ? seconds
                : new Date(v).getHours() + new Date(v).getMinutes() > 0
                  ? minutes
                  : days
              ).format(v),
            ),
        },
        {
          ...axis,
          size: axisWidth,
          values: (_, splits) => splits.map(v => v.toLocaleString(undefined, { maximumFractionDigits: 2 })),
        },
      ],
      series: [
        {
          value: (_, v) =>
            v === null ? "" : (this.range[1] - this.range[0] > 86_000_000 ? dayMinutes : seconds).format(v),
        },
        ...this.lines(i, color(i === 0 ? "--accent" : "--odd")),
        ...this.judged(i, color("--good")),
      ],
      bands: this.bands(i, color),
      cursor: { sync: { key: this.sync.key }, drag: { x: false, y: false } },
      hooks: {
        drawClear: [u => this.drawAlerts(u, color)],
        draw: [u => this.drawLimits(u, i, color), u => i === 0 && this.nameAlerts(u, color)],
      },
      padding: [12, 28, 0, 0],
    };
  }

  /** bands are filled: between the least and the greatest of parts, and where the speed was expected. */
  private bands(i: number, color: (name: string) => string): uPlot.Band[] {
    const { parts, expected } = this.series;
    const all: uPlot.Band[] = [];
    if (parts) all.push({ series: [2, 3], fill: tinted(color(i === 0 ? "--accent" : "--odd")) });
    if (i === 0 && expected) all.push({ series: parts ? [4, 5] : [2, 3], fill: tinted(color("--good"), "22") });
    return all;
  }

  /** judged are the ends of the band in which the speed was expected, and what was expected. */
  private judged(i: number, stroke: string): uPlot.Series[] {
    if (i !== 0 || !this.series.expected) return [];
    const value = (_: uPlot, v: number | null): string => (v === null ? "" : v.toFixed(1));
    const edge: uPlot.Series = { stroke: tinted(stroke, "66"), width: 1, points: { show: false }, value };
    return [
      { ...edge, label: "Band, upper end" },
      { ...edge, label: "Band, lower end" },
      { ...edge, label: "Expected", stroke, dash: [5, 4] },
    ];
  }

  /** lines are the readings, or the parts' means between the least and the greatest of each. */
  private lines(i: number, stroke: string): uPlot.Series[] {
    const value = (_: uPlot, v: number | null): string => (v === null ? "" : v.toFixed(i === 0 ? 1 : 2));
    const name = i === 0 ? "RPM" : "Score";
    if (!this.series.parts)
      return [{ label: name, stroke, width: 1.5, points: { show: u => u.data[0].length < 80, size: 4 }, value }];
    const edge: uPlot.Series = { stroke: tinted(stroke), width: 1, points: { show: false }, value };
    return [
      { label: `${name}, mean`, stroke, width: 1.5, points: { show: u => u.data[0].length < 80, size: 4 }, value },
      { ...edge, label: "highest" },
      { ...edge, label: "lowest" },
    ];
  }

  /** extent of the y axis: the readings and the limits near them, with some air. */
  private extent(lo: number | null, hi: number | null, i: number): [number, number] {
    // Beside a band a limit far off would leave the readings a line and the band nothing.
    const reach = this.series.expected ? 1.5 * ((hi ?? 0) - (lo ?? 0)) : Infinity;
    const near = this.limits(i).filter(l => l.at >= (lo ?? l.at) - reach && l.at <= (hi ?? l.at) + reach);
    const span = [lo, hi, ...near.map(l => l.at)].filter((v): v is number => v !== null && Number.isFinite(v));
    if (i === 1) span.push(0);
    const a = Math.min(...span);
    const b = Math.max(...span);
    if (!Number.isFinite(a) || !Number.isFinite(b)) return [0, 1];
    const air = Math.max((b - a) * 0.08, i === 0 ? 20 : 0.1);
    return [Math.max(0, a - air), b + 2 * air]; // more above, for the names of alerts
  }

  /** drawAlerts shades the time of each alert and marks its opening; a strip on top shows the fan's state. */
  private drawAlerts(u: uPlot, color: (name: string) => string): void {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const end = this.range[1];
    for (const a of this.marks.alerts) {
      if (a.from > end || (a.to !== 0 && a.to < this.range[0])) continue;
      const tone = color(`--${wordsFor(a.kind).tone}`);
      const x = u.valToPos(a.from, "x", true);
      ctx.globalAlpha = a.open ? 0.14 : 0.08;
      ctx.fillStyle = tone;
      ctx.fillRect(x, bbox.top, u.valToPos(a.to || end, "x", true) - x, bbox.height);
      ctx.globalAlpha = 1;
      ctx.fillRect(x, bbox.top, devicePixelRatio, bbox.height);
    }
    this.series.kinds.forEach((k, j) => {
      if (k.kind === "") return;
      const x = u.valToPos(k.from, "x", true);
      const to = this.series.kinds[j + 1]?.from ?? this.series.t[this.series.t.length - 1] ?? k.from;
      ctx.fillStyle = color(`--${wordsFor(k.kind).tone}`);
      ctx.fillRect(x, bbox.top, Math.max(2, u.valToPos(to, "x", true) - x), 4 * devicePixelRatio);
    });
    ctx.restore();
  }

  private drawLimits(u: uPlot, i: number, color: (name: string) => string): void {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = color("--bad");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const l of this.limits(i)) {
      const y = Math.round(u.valToPos(l.at, "y", true));
      const out = y < bbox.top ? "above" : y > bbox.top + bbox.height ? "below" : "";
      if (out) {
        const edge =
          out === "above" ? bbox.top + 14 * devicePixelRatio : bbox.top + bbox.height - 4 * devicePixelRatio;
        this.write(ctx, `${l.name}, ${out}`, bbox.left + 4 * devicePixelRatio, edge, color("--quiet"));
        continue;
      }
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      this.write(ctx, l.name, bbox.left + 4 * devicePixelRatio, y - 4 * devicePixelRatio, color("--quiet"));
    }
    ctx.restore();
  }

  /** nameAlerts writes above the grid what drawAlerts marked. */
  private nameAlerts(u: uPlot, color: (name: string) => string): void {
    let free = 0; // over a long time alerts stand close: a name is left out where it would cover another
    for (const a of [...this.marks.alerts].sort((a, b) => a.from - b.from)) {
      if (a.from > this.range[1] || a.from < this.range[0]) continue;
      const { symbol, word, tone } = wordsFor(a.kind);
      const x = u.valToPos(a.from, "x", true);
      if (x < free) continue;
      const room = 90 * devicePixelRatio;
      free = x + room;
      const left = x + room > u.bbox.left + u.bbox.width; // at the end of the axis there is none to the right
      this.write(
        u.ctx,
        `${symbol} ${word}`,
        left ? x - room : x + 5 * devicePixelRatio,
        u.bbox.top + 18 * devicePixelRatio,
        color(`--${tone}`),
      );
    }
  }

  private write(ctx: CanvasRenderingContext2D, text: string, x: number, y: number, style: string): void {
    ctx.save();
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.fillStyle = style;
    ctx.fillText(text, x, y);
    ctx.restore();
  }
}

function spread(values: number[], band: Band | undefined, digits: number): string {
  if (values.length === 0) return "No readings.";
  const last = values[values.length - 1] ?? 0;
  const lowest = least(band?.min ?? values).toFixed(digits);
  const highest = (-least((band?.max ?? values).map(v => -v))).toFixed(digits);
  return `Lowest ${lowest}, highest ${highest}, ${band ? "lately" : "now"} ${last.toFixed(digits)}.`;
}

function sayExpected(s: Series): string {
  const i = s.t.length - 1;
  const [expected, low, high] = [s.expected?.[i] ?? 0, s.low?.[i] ?? 0, s.high?.[i] ?? 0];
  return expected ? ` Expected ${expected.toFixed(0)}, band ${low.toFixed(0)} to ${high.toFixed(0)}.` : "";
}

const least = (values: number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);

function steps(t: number[]): number[] {
  return t.slice(1).map((at, i) => at - (t[i] ?? at));
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** tinted is a colour of the style sheet, #rrggbb, that lets the grid through; 00 would let all of it through. */
function tinted(color: string, share = "40"): string {
  return color + share;
}
