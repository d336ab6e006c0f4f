// Two charts over one time axis: RPM with the limits, and the forest's score, both with alert marks.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { h } from "./dom";
import { wordsFor } from "./words";

export interface Series {
  t: number[]; // Unix milliseconds, ascending
  rpm: number[];
  score: number[];
  kinds: { from: number; kind: string }[];
}

export interface Marks {
  min: number; // RPM limits, 0 = none
  max: number;
  threshold: number; // of the score when the fan was last judged, 0 = none
  alerts: { from: number; to: number; kind: string; open: boolean }[];
}

interface Limit {
  at: number;
  name: string;
}

// Times without AM and PM: there is little room under an axis.
const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const axisWidth = 56; // the same left of both charts, so that they line up

export class Charts {
  readonly el: HTMLElement;
  private readonly boxes = [h("div", { class: "chart", role: "img" }), h("div", { class: "chart", role: "img" })] as const;
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
    this.series = series;
    this.marks = marks;
    this.range = range;
    if (this.plots.length === 0) this.build();
    this.plots.forEach((p, i) => p.setData(this.data(i)));
    this.boxes[0].setAttribute("aria-label", `RPM over time. ${spread(series.rpm, 0)}`);
    this.boxes[1].setAttribute("aria-label", `Score over time. ${spread(series.score, 2)}`);
  }

  close(): void {
    this.resized.disconnect();
    this.dark.removeEventListener("change", this.rebuild);
    for (const p of this.plots) p.destroy();
    this.plots = [];
  }

  private limits(i: number): Limit[] {
    const m = this.marks;
    const all = i === 0 ? [{ at: m.min, name: `lowest ${m.min}` }, { at: m.max, name: `highest ${m.max}` }] : [{ at: m.threshold, name: `threshold ${m.threshold.toFixed(2)}` }];
    return all.filter((l) => l.at > 0);
  }

  /** data breaks the line where readings are missing, for a line across would claim what nobody measured. */
  private data(i: number): uPlot.AlignedData {
    const t: number[] = [];
    const v: (number | null)[] = [];
    const values = i === 0 ? this.series.rpm : this.series.score;
    const gap = 10_000;
    this.series.t.forEach((at, j) => {
      const before = this.series.t[j - 1];
      if (before !== undefined && at - before > gap) {
        t.push(before + 1);
        v.push(null);
      }
      t.push(at);
      v.push(values[j] ?? null);
    });
    return [t, v];
  }

  private build(): void {
    for (const p of this.plots) p.destroy();
    this.plots = this.boxes.map((box, i) => new uPlot(this.options(i), this.data(i), box));
  }

  private width(): number {
    return Math.max(240, Math.floor(this.boxes[0].getBoundingClientRect().width));
  }

  private resize(): void {
    const width = this.width();
    for (const p of this.plots) if (p.width !== width) p.setSize({ width, height: p.height });
  }

  private options(i: number): uPlot.Options {
    const css = getComputedStyle(document.documentElement);
    const color = (name: string): string => css.getPropertyValue(name).trim();
    const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    return {
      width: this.width(),
      height: i === 0 ? 230 : 150,
      ms: 1,
      scales: {
        x: { range: () => this.range },
        y: { range: (_, lo, hi) => this.extent(lo, hi, i) },
      },
      axes: [{ ...axis, size: 32, space: (_, __, ___, ____, width) => (width < 400 ? 44 : 64), values: (_, splits, __, ___, step) => splits.map((v) => (step < 60_000 ? seconds : minutes).format(v)) }, { ...axis, size: axisWidth, values: (_, splits) => splits.map((v) => v.toLocaleString(undefined, { maximumFractionDigits: 2 })) }],
      series: [
        { value: (_, v) => (v === null ? "" : seconds.format(v)) },
        { label: i === 0 ? "RPM" : "Score", stroke: color(i === 0 ? "--accent" : "--odd"), width: 1.5, points: { show: (u) => u.data[0].length < 80, size: 4 }, value: (_, v) => (v === null ? "" : v.toFixed(i === 0 ? 1 : 2)) },
      ],
      cursor: { sync: { key: this.sync.key }, drag: { x: false, y: false } },
      hooks: { drawClear: [(u) => this.drawAlerts(u, color)], draw: [(u) => this.drawLimits(u, i, color), (u) => i === 0 && this.nameAlerts(u, color)] },
      padding: [12, 28, 0, 0],
    };
  }

  /** extent of the y axis: the readings and the limits near them, with some air. */
  private extent(lo: number | null, hi: number | null, i: number): [number, number] {
    const span = [lo, hi, ...this.limits(i).map((l) => l.at)].filter((v): v is number => v !== null && Number.isFinite(v));
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
    for (const a of this.marks.alerts) {
      if (a.from > this.range[1] || a.from < this.range[0]) continue;
      const { symbol, word, tone } = wordsFor(a.kind);
      this.write(u.ctx, `${symbol} ${word}`, u.valToPos(a.from, "x", true) + 5 * devicePixelRatio, u.bbox.top + 18 * devicePixelRatio, color(`--${tone}`));
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

function spread(values: number[], digits: number): string {
  if (values.length === 0) return "No readings.";
  const last = values[values.length - 1] ?? 0;
  return `Lowest ${Math.min(...values).toFixed(digits)}, highest ${Math.max(...values).toFixed(digits)}, now ${last.toFixed(digits)}.`;
}
