// One fan: what it does now, its charts, its alerts, what is known of the device, its refused messages.

import { AlertList } from "./alerts";
import { Charts, type Band, type Series } from "./chart";
import { arrange, h, put, setAttr, setText } from "./dom";
import { history, keeps, ranges, rangesWithoutTable, type Range } from "./history";
import { noRefusals, refusals, type Refusal } from "./lists";
import { Answered, fanOf, get, over, post, type Fan, type FanLine, type Store } from "./store";
import { Badges, fullTime, sayFanScore, sayFor, sayJudged, sayQuiet, sayRPM, sayScore, time } from "./words";

interface Device {
  revision: number;
  fan: string;
  site?: string;
  clients?: string[];
  zone?: string;
  limits: { min_rpm?: number; max_rpm?: number };
  silence?: string;
  policy?: string;
  kind?: string;
  nominal?: number;
  hours?: string;
  forest?: { severity?: string; score?: number; off?: boolean };
  retired?: boolean;
}

interface Suggestion {
  kind: string;
  text: string;
  change: { hours?: string; silence?: string };
  since: string;
}

interface Details {
  fan: FanLine;
  status: null | {
    device: Device;
    phase: string;
    last: { anomaly: { kind: string; score: number; threshold: number; why: string } };
    alerts: number;
    suggestions?: Suggestion[];
  };
  refused: Refusal[];
  refused_since: number;
  refused_unknown?: string;
}

const rotors: Record<string, string> = {
  running: "running",
  starting: "starting up",
  stalled: "stalled",
  "no-signal": "no signal from the sensor",
};

/** The range that is shown, of one fan as of the next. */
const chosen = { label: ranges[0]!.label };

/** Readings are asked for again when a newer one was told, and no more often than this. */
const refresh = 1500;

export class FanView {
  readonly title: string;
  readonly el = h("section", { class: "fan" });
  private readonly badges = new Badges();
  private readonly site = h("span", { class: "quiet" });
  private readonly why = h("p", { class: "why" });
  private readonly quiet = h("p", { class: "quiet" });
  private readonly retired = h("p", { class: "empty" });
  private readonly now = h("dl", { class: "now" });
  private readonly note = h("p", { class: "empty", role: "status" });
  private readonly again = h(
    "button",
    { type: "button", class: "more", click: () => this.askHistory(this.range(), true) },
    "Try again",
  );
  private readonly charts = new Charts();
  private readonly choices = h("div", { class: "filters", role: "group", "aria-label": "Time shown" });
  private readonly buttons = new Map<string, HTMLButtonElement>();
  private readonly alerts: AlertList;
  private readonly alertsBox: HTMLElement;
  private readonly table = h("tbody");
  private readonly tableName = h("summary");
  private readonly device = h("div");
  private readonly suggestions = h("div");
  private suggested = ""; // what is drawn of them
  private readonly refused = h("div");
  private readonly body: HTMLElement;
  private readonly missing = h("p", { class: "empty" });
  private readonly numbers = {
    rpm: h("dd"),
    score: h("dd"),
    rotor: h("dd"),
    seen: h("dd"),
    judged: h("dd"),
    since: h("dd"),
  };

  private series: Series | null = null; // live
  private past = {
    label: "",
    asked: 0,
    range: [0, 1] as [number, number],
    series: null as Series | null,
    failed: "",
    loading: false,
  };
  private details: Details | null = null;
  private untold = "Loading."; // why there are no details
  private asked = { readings: 0, upTo: -1, details: 0, view: "" };
  private closed = false;

  constructor(
    private readonly store: Store,
    private readonly name: string,
  ) {
    this.title = name;
    this.alerts = new AlertList(store);
    this.alertsBox = h("section", {}, h("h2", {}, "Alerts of this fan"), this.alerts.el);
    for (const [label, dd] of [
      ["RPM", this.numbers.rpm],
      ["Score", this.numbers.score],
      ["Rotor", this.numbers.rotor],
      ["Last reading", this.numbers.seen],
      ["Judged", this.numbers.judged],
      ["In this state for", this.numbers.since],
    ] as const)
      this.now.append(h("div", {}, h("dt", {}, label), dd));
    const latest = h(
      "details",
      {},
      this.tableName,
      h(
        "table",
        { class: "plain" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Time"),
            h("th", { scope: "col" }, "RPM"),
            h("th", { scope: "col" }, "Score"),
          ),
        ),
        this.table,
      ),
    );
    latest.addEventListener("toggle", () => this.drawTable());
    this.drawTable();
    this.body = h(
      "div",
      {},
      this.retired,
      this.why,
      this.quiet,
      this.suggestions,
      this.now,
      this.alertsBox,
      this.choices,
      this.note,
      this.again,
      this.charts.el,
      latest,
      h("section", {}, h("h2", {}, "Device"), this.device),
      h("section", {}, h("h2", {}, "Refused messages"), this.refused),
    );
    this.el.append(
      h("p", { class: "back" }, h("a", { href: "#/" }, "\u2190 All fans")),
      h("div", { class: "title" }, h("h1", {}, name), this.badges.el, this.site),
      this.missing,
      this.body,
    );
  }

  update(): void {
    const told = this.store.fans.get(this.name);
    this.askDetailsOf(told);
    // the stream does not tell of fans that retired before the server's start
    const f = told ?? (this.details && this.store.started ? fanOf(this.details.fan) : undefined);
    setAttr(this.body, "hidden", !f);
    setAttr(this.badges.el, "hidden", !f);
    setAttr(this.missing, "hidden", f !== undefined);
    if (!f) {
      setText(this.missing, this.untold);
      return;
    }
    const state = this.store.state(f);
    const shown = this.badges.update(f, state, null);
    setText(this.site, f.site);
    const why = state === "unjudged" ? notJudged(f) : f.why;
    setText(this.why, why);
    const quiet = sayQuiet(f);
    setText(this.quiet, quiet);
    setAttr(this.quiet, "hidden", quiet === "");
    setAttr(this.why, "data-tone", shown.tone);
    this.drawNow(f);
    const alerts = this.store.alerts.filter(a => a.fan === this.name);
    const current = alerts.filter(a => !over(a));
    this.alerts.update([...current, ...alerts.filter(over).slice(0, 3)]);
    setAttr(this.alertsBox, "hidden", alerts.length === 0);
    const retired = f.phase === "retired";
    setAttr(this.retired, "hidden", !retired);
    if (retired) put(this.retired, "Retired since ", time(f.since), ": its readings are refused.");
    // the alert says it already
    setAttr(this.why, "hidden", retired || state === "unknown" || why === "" || current.some(a => a.why === why));
    this.drawChoices();
    this.ask(f);
    this.drawCharts(f);
  }

  close(): void {
    this.closed = true;
    this.charts.close();
  }

  private offered(): Range[] {
    return this.store.about.history ? ranges : rangesWithoutTable;
  }

  private range(): Range {
    return this.offered().find(r => r.label === chosen.label) ?? ranges[0]!;
  }

  private drawChoices(): void {
    const shown = this.range();
    const buttons = this.offered().map(r => {
      const b = this.buttons.get(r.label) ?? h("button", { type: "button", click: () => this.choose(r) }, r.label);
      this.buttons.set(r.label, b);
      setAttr(b, "aria-pressed", String(r.label === shown.label));
      return b;
    });
    arrange(this.choices, buttons);
  }

  private choose(r: Range): void {
    chosen.label = r.label;
    this.asked.readings = 0;
    this.asked.upTo = -1;
    this.update();
    this.drawTable();
  }

  private drawNow(f: Fan): void {
    const n = this.numbers;
    const fresh = this.store.fresh(f);
    setText(n.rpm, fresh ? sayRPM(f.rpm) : "\u2013");
    const [score, title] = fresh ? sayFanScore(f) : ["\u2013", null];
    setText(n.score, score);
    setAttr(n.score, "title", title);
    setText(n.rotor, fresh ? (rotors[f.rotor] ?? (f.rotor || "\u2013")) : "\u2013");
    put(n.seen, this.lastReading(f));
    const [judged, why] = sayJudged(f, this.store);
    setText(n.judged, judged);
    setAttr(n.judged, "title", why);
    const state = this.store.state(f);
    const since = state === "unjudged" && f.unjudged_since ? f.unjudged_since : f.since;
    put(n.since, since && state !== "unknown" ? time(since, sayFor(this.store.now() - since)) : "\u2013");
  }

  /**
   * lastReading tells how old the newest reading is, and its speed where that does not stand beside it as that of
   * now.
   */
  private lastReading(f: Fan): Node | string {
    if (this.store.link === "lost") return f.t ? time(f.t) : "not known";
    const ago = (ms: number): string => `${sayFor(this.store.now() - ms)} ago`;
    if (f.t) return h("span", {}, time(f.t, ago(f.t)), this.store.fresh(f) ? null : `: ${sayRPM(f.rpm)} RPM`);
    if (f.known)
      return h(
        "span",
        { title: "The reading at which its state last changed; there may have been later ones" },
        time(f.known, ago(f.known)),
        `: ${sayRPM(f.known_rpm)} RPM`,
      );
    return f.phase === "retired"
      ? "\u2013"
      : f.judging === "never" || f.judging === "stopped"
        ? "none yet"
        : "not known";
  }

  private ask(f: Fan): void {
    const now = Date.now();
    const range = this.range();
    if (range.part !== undefined) {
      this.askHistory(range, false);
    } else if (f.t > 0 && f.t !== this.asked.upTo && now - this.asked.readings > refresh) {
      this.asked.readings = now;
      this.asked.upTo = f.t;
      void this.askReadings(range);
    }
  }

  private askDetailsOf(f: Fan | undefined): void {
    const now = Date.now();
    // Details change with the fan's line, and when messages are refused.
    const view = JSON.stringify([
      f?.phase,
      f?.troubles,
      f?.since,
      f?.why,
      f?.site,
      f?.min_rpm,
      f?.max_rpm,
      f?.suggested,
      this.store.alertsVersion,
    ]);
    if ((view !== this.asked.view && now - this.asked.details > refresh) || now - this.asked.details > 30_000) {
      this.asked.view = view;
      this.asked.details = now;
      void this.askDetails();
    }
  }

  private async askReadings(range: Range): Promise<void> {
    try {
      const s = await get<Series>(`api/fans/${encodeURIComponent(this.name)}/readings?seconds=${range.seconds}`);
      if (this.closed || range.label !== this.range().label) return;
      this.series = s;
      this.drawTable();
      this.update();
    } catch {
      this.asked.upTo = -1; // asked again with the next update
    }
  }

  /** askHistory asks the table where what is shown is of another range, old, or wanted anew. */
  private askHistory(range: Range, again: boolean): void {
    const p = this.past;
    const old = Date.now() - p.asked > (p.failed ? 60_000 : keeps(range));
    if (p.label === range.label && !again && !old) return;
    const other = p.label !== range.label;
    const mine: typeof p = {
      ...p,
      label: range.label,
      asked: Date.now(),
      series: other ? null : p.series,
      failed: other ? "" : p.failed,
      loading: true,
    };
    this.past = mine;
    history(this.name, range, this.store.now())
      .then(answer => Object.assign(mine, answer, { failed: "" }))
      .catch((e: Error) => (mine.failed = e.message))
      .finally(() => {
        mine.loading = false;
        if (this.closed || this.past !== mine) return;
        if (!mine.failed && document.activeElement === this.again) this.buttons.get(range.label)?.focus(); // it goes
        this.drawTable();
        this.update();
      });
    if (again) this.update();
  }

  private async askDetails(): Promise<void> {
    try {
      const d = await get<Details>(`api/fans/${encodeURIComponent(this.name)}`);
      if (this.closed) return;
      this.details = d;
      put(this.device, deviceFacts(d, this.name, this.store.about.workflows));
      this.drawSuggestions(d.status?.suggestions ?? []);
      put(this.refused, refusals(d.refused, noRefusals(d, "None of this fan's messages was refused")));
      this.update(); // the charts show the threshold
    } catch (e) {
      if (this.closed) return;
      const unknown = e instanceof Answered && e.status === 404;
      if (unknown) this.details = null;
      else this.asked.view = "";
      this.untold = unknown
        ? "No fan of this name is known. It appears as soon as it is provisioned or its first reading arrives."
        : (e as Error).message;
      this.update();
    }
  }

  /** drawSuggestions leaves what is drawn while it says the same, so that a click meets the button it aims at. */
  private drawSuggestions(all: Suggestion[]): void {
    const now = JSON.stringify(all);
    if (now === this.suggested) return;
    this.suggested = now;
    put(this.suggestions, ...all.map(s => this.suggestion(s)));
  }

  private suggestion(s: Suggestion): HTMLElement {
    const said = h("p", { class: "said", role: "status" });
    const answer = async (accept: boolean): Promise<void> => {
      for (const b of buttons) b.disabled = true;
      setText(said, "Sending.");
      try {
        await post(`api/fans/${encodeURIComponent(this.name)}/suggestion`, { kind: s.kind, since: s.since, accept });
        setText(said, accept ? "Configured. It counts from the next reading on." : "Dismissed for 30 days.");
      } catch (e) {
        setText(said, `Not ${accept ? "configured" : "dismissed"}: ${(e as Error).message}`);
        for (const b of buttons) b.disabled = false;
      }
    };
    const buttons = [
      h("button", { type: "button", class: "primary", click: () => void answer(true) }, "Confirm"),
      h("button", { type: "button", class: "second", click: () => void answer(false) }, "Dismiss"),
    ];
    return h(
      "section",
      { class: "suggestion", "aria-label": "Suggestion" },
      h("p", {}, `${s.text} Set ${sayChange(s.change)}? Until you confirm it, each stop and silence is told of.`),
      h("div", { class: "ack" }, ...buttons, said),
    );
  }

  private drawCharts(f: Fan): void {
    const range = this.range();
    const past = range.part === undefined ? null : this.past;
    const series = past ? past.series : this.series;
    const empty = !series || series.t.length === 0;
    setAttr(this.charts.el, "hidden", empty);
    setAttr(this.again, "hidden", !past?.failed);
    const note = past
      ? sayPast(past, range)
      : f.t === 0
        ? unread(f)
        : empty
          ? "Loading the readings."
          : this.old(series, range.seconds * 1000);
    setText(this.note, note);
    setAttr(this.note, "hidden", note === "");
    if (!series || empty) return;
    this.charts.show(
      series,
      {
        min: f.min_rpm,
        max: f.max_rpm,
        threshold: scoreThreshold(this.details),
        alerts: this.store.alerts
          .filter(a => a.fan === this.name)
          .map(a => ({
            from: Date.parse(a.opened),
            to: a.ended_at ? Date.parse(a.ended_at) : 0,
            kind: a.kind,
            open: a.state === "open",
          })),
      },
      past ? past.range : this.liveRange(series, range.seconds * 1000),
    );
  }

  /** old says of when the readings are that are shown although none is of the range before now. */
  private old(series: Series, ms: number): string {
    const newest = series.t[series.t.length - 1] ?? 0;
    return this.store.now() - newest < ms
      ? ""
      : `No reading in the last ${sayFor(ms)}. These are the last ones, up to ${fullTime(newest)}.`;
  }

  private liveRange(series: Series, ms: number): [number, number] {
    const newest = series.t[series.t.length - 1] ?? 0;
    const now = this.store.now();
    // a fan silent for longer still shows its last readings
    const end = now - newest < ms && now > newest ? now : newest;
    return [end - ms, end];
  }

  private drawTable(): void {
    const range = this.range();
    const series = range.part === undefined ? this.series : this.past.series;
    setText(
      this.tableName,
      range.part === undefined
        ? "The last 20 readings as a table"
        : `The last 20 parts of ${sayFor(range.part * 1000)} as a table`,
    );
    if (!this.table.closest("details")?.open) return;
    if (!series) return put(this.table);
    const { t, rpm, score, parts } = series;
    const within = (say: (v: number) => string, v: number[], i: number, b?: Band): string =>
      say(v[i] ?? 0) + (b ? ` (${say(b.min[i] ?? 0)} to ${say(b.max[i] ?? 0)})` : "");
    const line = (i: number): HTMLElement =>
      h(
        "tr",
        {},
        h("td", {}, time((t[i] ?? 0) - (parts ? parts.length / 2 : 0))),
        h("td", {}, within(sayRPM, rpm, i, parts?.rpm)),
        h("td", {}, within(sayScore, score, i, parts?.score)),
      );
    put(
      this.table,
      ...t
        .slice(-20)
        .map((_, i, all) => line(t.length - all.length + i))
        .reverse(),
    );
  }
}

/** unread tells why there is no reading to draw. */
function unread(f: Fan): string {
  if (f.phase === "retired") return "Its last readings are no longer remembered.";
  if (f.known === 0 && (f.judging === "never" || f.judging === "stopped"))
    return "No reading yet. The charts begin with the first one.";
  return "The server remembers no reading of this fan from the last quarter of an hour. Longer times show older ones.";
}

function sayChange(c: Suggestion["change"]): string {
  return c.hours ? `its hours to ${c.hours}` : `its silence to ${c.silence ?? ""}`;
}

/** notJudged says why a fan that is in no known trouble is not called normal. */
function notJudged(f: Fan): string {
  const why = f.unjudged_why ? ` ${f.unjudged_why[0]!.toUpperCase()}${f.unjudged_why.slice(1)}.` : "";
  return `No reading of this fan is judged now, so nothing would be noticed.${why}`;
}

/**
 * scoreThreshold is what the score had to exceed, 0 = nothing: the threshold of a hard rule is an RPM, only the
 * forest's is a score.
 */
function scoreThreshold(d: Details | null): number {
  const a = d?.status?.last.anomaly;
  return a?.kind === "unusual" ? a.threshold : 0;
}

/** sayPast tells why there is no history to see, or that it is an old one; "" when all is well. */
function sayPast(past: { series: Series | null; failed: string; loading: boolean }, range: Range): string {
  const old = past.series && past.series.t.length > 0;
  if (past.loading && (!past.series || past.failed)) return "Loading the history.";
  if (past.failed) return `The history could not be had: ${past.failed}${old ? " What you see is older." : ""}`;
  return old
    ? ""
    : `The table has no reading of this fan in the last ${range.label}. Readings reach it within some two minutes.`;
}

/** known is what a person said of the fan. */
function known(d: Device): [string, string][] {
  const rows: [string, string][] = [];
  if (d.kind) rows.push(["Kind", d.kind]);
  if (d.nominal) rows.push(["Speed at full duty", `${sayRPM(d.nominal)} RPM`]);
  if (d.hours) rows.push(["Runs", `${d.hours} (${d.zone || "UTC"})`]);
  const f = d.forest;
  if (f?.off) rows.push(["Forest", "its score is written and never trouble"]);
  else if (f?.score || f?.severity)
    rows.push([
      "Forest",
      [f.score ? `trouble above ${f.score}` : "", f.severity ? `severity ${f.severity}` : ""]
        .filter(s => s)
        .join(", "),
    ]);
  return rows;
}

function deviceFacts(d: Details, name: string, workflows: string | undefined): HTMLElement {
  if (!d.status)
    return h(
      "p",
      { class: "empty" },
      "No workflow knows this fan: its readings arrive, but it is not registered, and nobody is alerted for it.",
    );
  const { device, phase, alerts } = d.status;
  const limit = (v: number | undefined, none: string): string => (v ? `${v} RPM` : none);
  const rows: [string, Node | string][] = [
    ["Site", device.site || "not given"],
    ["Phase", phase],
    ["Lowest RPM allowed", limit(device.limits.min_rpm, "half of its usual speed")],
    ["Highest RPM allowed", limit(device.limits.max_rpm, "none")],
    [
      "Silent after",
      device.silence === undefined || device.silence === "0s"
        ? "30s"
        : device.silence.startsWith("-")
          ? "never"
          : device.silence,
    ],
    ["Escalation policy", device.policy || "default"],
    ...known(device),
    ["Client IDs", [name, ...(device.clients ?? [])].join(", ")],
    ["Zone of times without one", device.zone || "UTC"],
    ["Configuration", `revision ${device.revision}`],
    ["Alerts so far", String(alerts)],
  ];
  if (workflows)
    rows.push([
      "Workflow",
      h(
        "a",
        { href: workflows + encodeURIComponent(`fan/${name}`), target: "_blank", rel: "noopener" },
        "Open in Temporal",
      ),
    ]);
  return h("dl", { class: "facts" }, ...rows.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
}
