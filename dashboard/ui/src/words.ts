// How states, numbers and times are said to people.

import { h, setAttr, setText } from "./dom";
import type { Fan, Store } from "./store";

export type Tone = "bad" | "warn" | "odd" | "mute" | "good";

export interface Words {
  word: string;
  symbol: string; // tells states apart without colour
  tone: Tone;
  gravity: number; // sorts trouble first
}

const states: Record<string, Words> = {
  stall: { word: "Stalled", symbol: "\u25a0", tone: "bad", gravity: 9 },
  underspeed: { word: "Too slow", symbol: "\u25bc", tone: "bad", gravity: 8 },
  overspeed: { word: "Too fast", symbol: "\u25b2", tone: "bad", gravity: 7 },
  frozen: { word: "Frozen", symbol: "\u2744", tone: "warn", gravity: 6 },
  unjudged: { word: "Not judged", symbol: "\u2298", tone: "warn", gravity: 6 },
  silent: { word: "Silent", symbol: "\u2205", tone: "warn", gravity: 6 },
  speed: { word: "Off its speed", symbol: "\u25d1", tone: "warn", gravity: 5 },
  unusual: { word: "Unusual", symbol: "\u25c6", tone: "odd", gravity: 3.5 },
  jitter: { word: "Jitter", symbol: "\u223f", tone: "odd", gravity: 3.5 },
  wobble: { word: "Wobble", symbol: "\u2248", tone: "odd", gravity: 3.5 },
  hunting: { word: "Hunting", symbol: "\u21c5", tone: "odd", gravity: 3.5 },
  drift: { word: "Drift", symbol: "\u2198", tone: "odd", gravity: 3.5 },
  publishers: { word: "Two publishers", symbol: "\u21c4", tone: "warn", gravity: 5 },
  pipeline: { word: "Fanwatch itself", symbol: "\u26a0", tone: "warn", gravity: 4 },
  difference: { word: "Counts differ", symbol: "\u2260", tone: "warn", gravity: 4 },
  unknown: { word: "Not known", symbol: "?", tone: "mute", gravity: 3 },
  provisioning: { word: "Being set up", symbol: "\u2026", tone: "mute", gravity: 3 },
  waiting: { word: "No reading yet", symbol: "\u25cb", tone: "mute", gravity: 2 },
  "": { word: "Normal", symbol: "\u2713", tone: "good", gravity: 1 },
  maintenance: { word: "Maintenance", symbol: "\u2692", tone: "mute", gravity: 1 },
  muted: { word: "Muted", symbol: "\u29b8", tone: "mute", gravity: 1 },
  retired: { word: "Retired", symbol: "\u2013", tone: "mute", gravity: 0 },
};

/**
 * wordsFor a kind of trouble or a state; one that this page does not know is shown by its own name. A severity that is
 * given sets colour and place: info is worth a look and no alarm.
 */
export function wordsFor(state: string, severity = ""): Words {
  const w = states[state] ?? { word: state, symbol: "?", tone: "warn" as Tone, gravity: 4 };
  switch (severity) {
    case "critical":
      return { ...w, tone: "bad", gravity: Math.max(w.gravity, 6.5) };
    case "warning":
      return { ...w, tone: "warn", gravity: Math.max(w.gravity, 4) };
    case "info":
      return { ...w, tone: "odd", gravity: 3.5 };
  }
  return w;
}

/** badge shows a state by symbol, word and colour. */
export function badge(state: string, severity = ""): HTMLElement {
  const el = h("span", { class: "badge" }, h("span", { class: "symbol", "aria-hidden": "true" }), h("span", {}));
  setBadge(el, state, severity);
  return el;
}

/** Badges shows a fan's state, and beside it the other families that are in trouble, and that it is quiet. */
export class Badges {
  readonly el = h("span", { class: "badges" });
  private readonly first = badge("");
  private shown = "";

  constructor() {
    this.el.append(this.first);
  }

  /** update returns the words of the state. */
  update(f: Fan, state: string, title: string | null): Words {
    const own = state !== "" && state === f.kind;
    setBadge(this.first, state, own ? f.severity : "");
    setAttr(this.first, "title", title);
    let others = own ? f.troubles.split(" ").slice(1).join(" ") : "";
    if (f.quiet === "maintenance" || f.quiet === "muted") others = `${others} ${f.quiet}:`.trim();
    if (others !== this.shown) {
      this.shown = others;
      const badges = others === "" ? [] : others.split(" ").map(t => badge(...(t.split(":") as [string, string])));
      this.el.replaceChildren(this.first, ...badges);
    }
    return wordsFor(state, own ? f.severity : "");
  }
}

export function setBadge(el: HTMLElement, state: string, severity = ""): void {
  const w = wordsFor(state, severity);
  setAttr(el, "data-tone", w.tone);
  setText(el.firstElementChild!, w.symbol);
  setText(el.lastElementChild!, w.word);
}

const rpm = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const rpmFine = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

export function sayRPM(v: number): string {
  return v !== 0 && v < 100 ? rpmFine.format(v) : rpm.format(v);
}

export function sayScore(v: number): string {
  return v.toFixed(2);
}

/**
 * sayFanScore gives the score of a fan's newest reading (t is 0 before the first) and what explains it; 0 is no
 * score.
 */
export function sayFanScore(f: { t: number; score: number }): [text: string, title: string | null] {
  if (f.t === 0) return ["\u2013", null];
  if (f.score === 0) return ["learning", "The forest gives no score until it has seen enough readings"];
  return [sayScore(f.score), null];
}

/** sayJudged tells when a reading of the fan was last judged, and what explains it. */
export function sayJudged(f: Fan, store: Store): [text: string, title: string | null] {
  const ago = (ms: number): string => `${sayFor(store.now() - ms)} ago`;
  if (store.link === "lost") return ["not known", "There is no connection to the server"];
  if (f.phase === "retired") return ["\u2013", null];
  switch (f.judging) {
    case "now":
      return ["now", "A reading was judged within the last ten seconds"];
    case "stopped":
      return [ago(f.judged_at), null];
    case "never":
      return ["never", "No reading of this fan was judged yet"];
    case "unread":
      return [f.unjudged_since ? `not since ${sayTime(f.unjudged_since)}` : "not judged", f.unjudged_why];
  }
  return f.t
    ? [ago(f.t), f.unjudged_why || null]
    : ["not known", f.unjudged_why || "Nothing is known of its readings since the server started"];
}

/** sayFor gives a length of time in its two largest units. */
export function sayFor(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return m < 10 && s % 60 ? `${m} min ${s % 60} s` : `${m} min`;
  const hours = Math.floor(m / 60);
  if (hours < 24) return m % 60 ? `${hours} h ${m % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

/** sayQuiet tells of the maintenance that a fan is under, or that is planned next. */
export function sayQuiet(f: Fan): string {
  switch (f.quiet) {
    case "maintenance":
      return `In maintenance until ${sayTime(f.quiet_until)}: nothing notifies, no model learns. ${f.quiet_why}`;
    case "muted":
      return `Muted until ${sayTime(f.quiet_until)}: nothing notifies. ${f.quiet_why}`;
    case "planned":
      return `Maintenance is planned from ${sayTime(f.quiet_from)} to ${sayTime(f.quiet_until)}. ${f.quiet_why}`;
  }
  return "";
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayClock = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** sayTime gives local time, with the day when it is not today's. */
export function sayTime(ms: number): string {
  const today = new Date().toDateString() === new Date(ms).toDateString();
  return (today ? clock : dayClock).format(ms);
}

/** fullTime gives local time with the day. */
export function fullTime(ms: number): string {
  return dayClock.format(ms);
}

/** time gives a <time> in local time whose title tells date and zone. */
export function time(ms: number, text = sayTime(ms)): HTMLTimeElement {
  return h("time", { datetime: new Date(ms).toISOString(), title: `${full.format(ms)} (${zone})` }, text);
}

/** topicName shortens an ARN to its last part. */
export function topicName(to: string): string {
  return to.startsWith("arn:") ? (to.split(":").pop() ?? to) : to;
}
