// One fan: what it does now, its charts, its alerts, what is known of the device, its refused messages.

import { AlertList } from "./alerts";
import { Charts, type Series } from "./chart";
import { h, put, setAttr, setText } from "./dom";
import { refusals, type Refusal } from "./lists";
import { get, Store, type Fan } from "./store";
import { badge, sayFor, sayRPM, sayScore, setBadge, time, wordsFor } from "./words";

interface Device {
  revision: number;
  fan: string;
  site?: string;
  clients?: string[];
  zone?: string;
  limits: { min_rpm?: number; max_rpm?: number };
  silence?: string;
  policy?: string;
  retired?: boolean;
}

interface Details {
  status: null | {
    device: Device;
    phase: string;
    last: { anomaly: { kind: string; score: number; threshold: number; why: string } };
    alerts: number;
    muted_until?: string;
  };
  refused: Refusal[];
}

const rotors: Record<string, string> = { running: "running", starting: "starting up", stalled: "stalled", "no-signal": "no signal from the sensor" };
const windows: [number, string][] = [[300, "5 min"], [900, "15 min"], [3600, "1 h"]];
const chosen = { seconds: 300 };

/** Readings are asked for again when a newer one was told, and no more often than this. */
const refresh = 1500;

export class FanView {
  readonly title: string;
  readonly el = h("section", { class: "fan" });
  private readonly badge = badge("");
  private readonly site = h("span", { class: "quiet" });
  private readonly why = h("p", { class: "why" });
  private readonly now = h("dl", { class: "now" });
  private readonly note = h("p", { class: "empty" });
  private readonly charts = new Charts();
  private readonly windows: HTMLButtonElement[];
  private readonly alerts: AlertList;
  private readonly alertsBox: HTMLElement;
  private readonly table = h("tbody");
  private readonly device = h("div");
  private readonly refused = h("div");
  private readonly body: HTMLElement;
  private readonly missing = h("p", { class: "empty" });
  private readonly numbers = { rpm: h("dd"), score: h("dd"), rotor: h("dd"), seen: h("dd"), since: h("dd") };

  private series: Series | null = null;
  private details: Details | null = null;
  private asked = { readings: 0, upTo: -1, details: 0, view: "" };
  private closed = false;

  constructor(private readonly store: Store, private readonly name: string) {
    this.title = name;
    this.alerts = new AlertList(store);
    this.alertsBox = h("section", {}, h("h2", {}, "Alerts of this fan"), this.alerts.el);
    this.windows = windows.map(([seconds, label]) => h("button", { type: "button", click: () => this.choose(seconds) }, label));
    for (const [label, dd] of [["RPM", this.numbers.rpm], ["Score", this.numbers.score], ["Rotor", this.numbers.rotor], ["Last reading", this.numbers.seen], ["In this state for", this.numbers.since]] as const)
      this.now.append(h("div", {}, h("dt", {}, label), dd));
    const latest = h("details", {}, h("summary", {}, "The last 20 readings as a table"), h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"), h("th", { scope: "col" }, "RPM"), h("th", { scope: "col" }, "Score"))), this.table));
    latest.addEventListener("toggle", () => this.drawTable());
    this.body = h(
      "div",
      {},
      this.why,
      this.now,
      this.alertsBox,
      h("div", { class: "filters", role: "group", "aria-label": "Time shown" }, ...this.windows),
      this.note,
      this.charts.el,
      latest,
      h("section", {}, h("h2", {}, "Device"), this.device),
      h("section", {}, h("h2", {}, "Refused messages"), this.refused),
    );
    this.el.append(h("p", { class: "back" }, h("a", { href: "#/" }, "\u2190 All fans")), h("div", { class: "title" }, h("h1", {}, name), this.badge, this.site), this.missing, this.body);
  }

  update(): void {
    const f = this.store.fans.get(this.name);
    setAttr(this.body, "hidden", !f);
    setAttr(this.badge, "hidden", !f);
    setAttr(this.missing, "hidden", f !== undefined);
    if (!f) {
      setText(this.missing, this.store.started ? "No fan of this name is known. It appears as soon as it is provisioned or its first reading arrives." : "Loading.");
      return;
    }
    const state = Store.state(f);
    setBadge(this.badge, state);
    setText(this.site, f.site);
    setText(this.why, f.why);
    setAttr(this.why, "data-tone", wordsFor(state).tone);
    this.drawNow(f);
    const alerts = this.store.alerts.filter((a) => a.fan === this.name);
    const current = alerts.filter((a) => a.state !== "resolved");
    this.alerts.update([...current, ...alerts.filter((a) => a.state === "resolved").slice(0, 3)]);
    setAttr(this.alertsBox, "hidden", alerts.length === 0);
    setAttr(this.why, "hidden", f.why === "" || current.some((a) => a.why === f.why)); // the alert says it already
    this.windows.forEach((b, i) => setAttr(b, "aria-pressed", String(windows[i]?.[0] === chosen.seconds)));
    this.ask(f);
    this.drawCharts(f);
  }

  close(): void {
    this.closed = true;
    this.charts.close();
  }

  private choose(seconds: number): void {
    chosen.seconds = seconds;
    this.asked.readings = 0;
    this.asked.upTo = -1;
    this.update();
  }

  private drawNow(f: Fan): void {
    const n = this.numbers;
    setText(n.rpm, f.t ? sayRPM(f.rpm) : "\u2013");
    setText(n.score, f.t ? (f.score === 0 ? "learning" : sayScore(f.score)) : "\u2013");
    setAttr(n.score, "title", f.score === 0 ? "The forest gives no score until it has seen enough readings" : null);
    setText(n.rotor, rotors[f.rotor] ?? (f.rotor || "\u2013"));
    put(n.seen, f.t ? time(f.t, `${sayFor(this.store.now() - f.t)} ago`) : "none yet");
    put(n.since, f.since ? time(f.since, sayFor(this.store.now() - f.since)) : "\u2013");
  }

  private ask(f: Fan): void {
    const now = Date.now();
    if (f.t > 0 && f.t !== this.asked.upTo && now - this.asked.readings > refresh) {
      this.asked.readings = now;
      this.asked.upTo = f.t;
      void this.askReadings(chosen.seconds);
    }
    // Details change with the fan's line, and when messages are refused.
    const view = JSON.stringify([f.phase, f.kind, f.since, f.why, f.site, f.min_rpm, f.max_rpm, this.store.alertsVersion]);
    if ((view !== this.asked.view && now - this.asked.details > refresh) || now - this.asked.details > 30_000) {
      this.asked.view = view;
      this.asked.details = now;
      void this.askDetails();
    }
  }

  private async askReadings(seconds: number): Promise<void> {
    try {
      const s = await get<Series>(`api/fans/${encodeURIComponent(this.name)}/readings?seconds=${seconds}`);
      if (this.closed || seconds !== chosen.seconds) return;
      this.series = s;
      this.drawTable();
      this.update();
    } catch {
      this.asked.upTo = -1; // asked again with the next update
    }
  }

  private async askDetails(): Promise<void> {
    try {
      const d = await get<Details>(`api/fans/${encodeURIComponent(this.name)}`);
      if (this.closed) return;
      this.details = d;
      put(this.device, deviceFacts(d, this.name, this.store.about.workflows));
      put(this.refused, refusals(d.refused, "None of this fan's messages was refused."));
      this.update(); // the charts show the threshold
    } catch {
      this.asked.view = "";
    }
  }

  private drawCharts(f: Fan): void {
    const empty = !this.series || this.series.t.length === 0;
    setAttr(this.note, "hidden", !empty);
    setAttr(this.charts.el, "hidden", empty);
    setText(this.note, f.t === 0 ? "No reading yet. The charts begin with the first one." : "Loading the readings.");
    if (!this.series || empty) return;
    const newest = this.series.t[this.series.t.length - 1] ?? 0;
    const now = this.store.now();
    const ms = chosen.seconds * 1000;
    const end = now - newest < ms && now > newest ? now : newest; // a fan silent for longer still shows its last readings
    this.charts.show(
      this.series,
      {
        min: f.min_rpm,
        max: f.max_rpm,
        threshold: this.details?.status?.last.anomaly.threshold ?? 0,
        alerts: this.store.alerts
          .filter((a) => a.fan === this.name)
          .map((a) => ({ from: Date.parse(a.opened), to: a.ended_at ? Date.parse(a.ended_at) : 0, kind: a.kind, open: a.state === "open" })),
      },
      [end - ms, end],
    );
  }

  private drawTable(): void {
    if (!this.table.closest("details")?.open || !this.series) return;
    const { t, rpm, score } = this.series;
    put(this.table, ...t.slice(-20).map((_, i, all) => t.length - all.length + i).reverse().map((i) => h("tr", {}, h("td", {}, time(t[i] ?? 0)), h("td", {}, sayRPM(rpm[i] ?? 0)), h("td", {}, sayScore(score[i] ?? 0)))));
  }
}

function deviceFacts(d: Details, name: string, workflows: string | undefined): HTMLElement {
  if (!d.status) return h("p", { class: "empty" }, "No workflow knows this fan: its readings arrive, but it is not registered, and nobody is alerted for it.");
  const { device, phase, alerts, muted_until } = d.status;
  const limit = (v: number | undefined): string => (v ? `${v} RPM` : "none");
  const rows: [string, Node | string][] = [
    ["Site", device.site || "not given"],
    ["Phase", phase],
    ["Lowest RPM allowed", limit(device.limits.min_rpm)],
    ["Highest RPM allowed", limit(device.limits.max_rpm)],
    ["Silent after", device.silence === undefined || device.silence === "0s" ? "30s" : device.silence.startsWith("-") ? "never" : device.silence],
    ["Escalation policy", device.policy || "default"],
    ["Client IDs", [name, ...(device.clients ?? [])].join(", ")],
    ["Zone of times without one", device.zone || "UTC"],
    ["Configuration", `revision ${device.revision}`],
    ["Alerts so far", String(alerts)],
  ];
  if (muted_until) rows.push(["Muted until", time(Date.parse(muted_until))]);
  if (workflows) rows.push(["Workflow", h("a", { href: workflows + encodeURIComponent(`fan/${name}`), target: "_blank", rel: "noopener" }, "Open in Temporal")]);
  return h("dl", { class: "facts" }, ...rows.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
}
