// What the page knows, kept up by the server's event stream (see events.go and board.go for the format).

export interface Fan {
  name: string;
  site: string;
  phase: string; // "" when no workflow knows the fan
  kind: string;
  severity: string; // of kind; "" without trouble
  troubles: string; // kind:severity of each family in trouble, by spaces, the gravest first
  since: number; // Unix milliseconds as every time here, 0 when unknown
  why: string;
  alert: string;
  min_rpm: number;
  max_rpm: number;
  suggested: number; // of suggestions that no person has answered
  quiet: string; // maintenance, muted or, where neither runs, planned; "" without any
  quiet_from: number;
  quiet_until: number;
  quiet_why: string;
  state: string; // as the server judges it; "" when no workflow knows the fan
  silence: number; // milliseconds after which it counts as silent, 0 = never
  known: number; // of the reading at which its state last changed, 0 = none
  known_rpm: number;
  judging: string; // now, stopped, never, unread, unknown; "" while the scorers cannot be asked
  judged_at: number; // 0 while it is judged now
  unjudged_since: number;
  unjudged_why: string;
  t: number; // of the newest reading, 0 before the first
  rpm: number;
  score: number;
  rotor: string;
  seenKind: string; // of the newest reading: what its scorer made of it
  rank: number; // place in the order of names
}

/** A time in which fans are worked on, or muted. */
export interface Maintenance {
  id: string;
  fan?: string;
  site?: string;
  repeat?: string;
  by: string;
  why?: string;
  mute?: boolean;
  begin: string;
  until: string;
}

export interface Notice {
  key: string;
  step: number;
  to: string;
  at: string;
}

/** A notification that was given up. */
export interface Failure {
  step: number;
  to: string;
  why: string;
  at: string;
}

/** What a person did about an alert. */
export interface Answer {
  action: "acknowledge" | "snooze" | "hand" | "note" | "resolve" | "unacknowledge";
  by: string;
  from?: string;
  to?: string;
  until?: string;
  note?: string;
  at?: string;
}

export interface Alert {
  id: string;
  fan: string;
  site?: string;
  kind: string;
  severity?: string; // of an earlier program: that of the kind
  opened: string;
  why: string;
  state: "open" | "acknowledged" | "resolved" | "terminated";
  step: number;
  steps: number;
  told?: Notice[];
  notices?: number; // in all, where told holds the newest alone
  failed?: Failure[];
  round?: number;
  returns?: number;
  well_from?: string;
  acked_by?: string;
  acked_at?: string;
  note?: string;
  ended_at?: string;
  label?: "normal" | "fault"; // what a person said of it
  labelled_by?: string;
  labelled_at?: string;
  answers?: Answer[]; // the newest, oldest first
  snoozed_until?: string;
  ended_by?: string; // who resolved it by hand
  incident?: string; // workflow of the incident that notifies in its place
  members?: Member[]; // of an incident: the newest
  troubled?: number; // of an incident: fans whose trouble goes on
  joined?: number; // of an incident: fans that joined
  fans?: number; // of an incident: fans of its site
}

/** Member is an alert that is part of an incident. */
export interface Member {
  alert: string;
  fan: string;
  kind: string;
  over?: string;
}

const lookKinds = new Set(["jitter", "wobble", "hunting", "drift", "unusual"]);

/** look tells whether the alert is worth a look and no more: no step notifies of it. */
export function look(a: Alert): boolean {
  return a.severity ? a.severity === "info" : lookKinds.has(a.kind);
}

/** over tells whether nothing more will come of the alert. */
export function over(a: Alert): boolean {
  return a.state === "resolved" || a.state === "terminated";
}

/** folded returns the alerts without those that are part of an incident that is among them and not over. */
export function folded(alerts: Alert[]): Alert[] {
  const open = new Set(alerts.filter(a => a.kind === "incident" && !over(a)).map(a => `incident/${a.fan}`));
  return alerts.filter(a => over(a) || !a.incident || !open.has(a.incident));
}

export interface About {
  workflows?: string;
  inbox: boolean;
  history: boolean; // there is a table with what the server no longer remembers
}

/** FanLine is a fan as the server tells it: what is empty or 0 is left out, and so are its readings. */
export type FanLine = Partial<Fan> & { name: string };

/** fanOf makes a line whole; the reading is the one that was known before. */
export function fanOf(line: FanLine, old?: Fan): Fan {
  return {
    site: "",
    phase: "",
    kind: "",
    severity: "",
    troubles: "",
    since: 0,
    why: "",
    alert: "",
    min_rpm: 0,
    max_rpm: 0,
    suggested: 0,
    quiet: "",
    quiet_from: 0,
    quiet_until: 0,
    quiet_why: "",
    state: "",
    silence: 0,
    known: 0,
    known_rpm: 0,
    judging: "",
    judged_at: 0,
    unjudged_since: 0,
    unjudged_why: "",
    ...line,
    t: old?.t ?? 0,
    rpm: old?.rpm ?? 0,
    score: old?.score ?? 0,
    rotor: old?.rotor ?? "",
    seenKind: old?.seenKind ?? "",
    rank: old?.rank ?? 0,
  };
}

interface Update {
  at: number;
  whole?: boolean;
  fans?: FanLine[];
  gone?: string[];
  latest: { name?: string[]; t?: number[]; rpm?: number[]; score?: number[]; kind?: string[]; rotor?: string[] };
  alerts: number;
  trouble?: string;
  asked?: number;
  logs?: string;
  maintenances?: Maintenance[]; // where they changed
}

export type Link = "connecting" | "live" | "lost";

/** A stream that says nothing for this long is dead: the server's beat comes every 3 s. */
const silence = 9_000;

/** A reading this much older than the fan's silence says nothing of now: it is shown a while after its arrival. */
const landing = 60_000;

export class Store {
  readonly fans = new Map<string, Fan>();
  alerts: Alert[] = [];
  maintenances: Maintenance[] = []; // that run or are planned, those that run first
  alertsKnown = false;
  alertsVersion = 0;
  about: About = { inbox: false, history: false };
  link: Link = "connecting";
  heard = Date.now(); // when the server last said something: what the page shows is from then
  trouble = "";
  asked = 0;
  logs = ""; // why readings are old
  started = false; // the first update has come

  private skew = 0; // server's clock minus ours
  private stream: EventSource | null = null;
  private opened = Date.now();
  private retry = 0; // a timer; 0 while no new attempt is set
  private readonly listeners = new Set<() => void>();

  /** onChange calls f after each change. */
  onChange(f: () => void): void {
    this.listeners.add(f);
  }

  /** now is the server's clock. It stands while the connection is lost, so that no duration claims to go on. */
  now(): number {
    return (this.link === "lost" ? this.heard : Date.now()) + this.skew;
  }

  start(): void {
    void this.learn();
    this.connect();
    setInterval(() => {
      if (this.retry === 0 && Date.now() - Math.max(this.heard, this.opened) > silence) this.lost();
    }, 500);
    window.addEventListener("online", () => this.link === "lost" && this.connect());
  }

  /**
   * state is the word under which a fan is shown; see words.ts. What is not known to be so now is not shown as
   * normal.
   */
  state(f: Fan): string {
    if (f.phase === "retired") return f.phase;
    if (this.link === "lost") return "unknown";
    if (f.phase === "provisioning" || f.kind !== "") return f.phase === "provisioning" ? f.phase : f.kind;
    if (f.phase === "") return this.reads(f, 0) ? "" : "unknown"; // no workflow and no scorer speak for it
    if (this.trouble !== "" || f.judging === "") return this.reads(f, landing) && f.seenKind === "" ? "" : "unknown";
    if (f.state === "not judged") return "unjudged";
    if (f.t === 0 && f.known === 0 && f.judging !== "now") return "waiting";
    return "";
  }

  /** reads tells whether the newest reading is no older than the fan's silence and the grace. */
  private reads(f: Fan, grace: number): boolean {
    return f.t > 0 && this.now() - f.t <= (f.silence || 30_000) + grace;
  }

  /** fresh tells whether the newest reading says what the fan does now. */
  fresh(f: Fan): boolean {
    const state = this.state(f);
    if (state === "silent" || state === "unjudged" || state === "unknown" || state === "retired") return false;
    return this.reads(f, f.judging === "now" ? landing : 0);
  }

  private connect(): void {
    clearTimeout(this.retry);
    this.retry = 0;
    this.stream?.close();
    this.opened = Date.now();
    const stream = new EventSource("api/events");
    this.stream = stream;
    stream.addEventListener("update", e => {
      this.heard = Date.now();
      this.take(JSON.parse((e as MessageEvent<string>).data) as Update);
      this.setLink("live");
      this.changed();
    });
    stream.addEventListener("beat", () => {
      this.heard = Date.now();
      if (this.started) this.setLink("live");
    });
    stream.addEventListener("error", () => this.lost());
  }

  /** lost opens a new stream after a while: the browser's own retry gives up for good on an error page. */
  private lost(): void {
    this.stream?.close();
    this.setLink("lost");
    this.changed();
    clearTimeout(this.retry);
    this.retry = window.setTimeout(() => this.connect(), 2000 + Math.random() * 1000);
  }

  private setLink(l: Link): void {
    if (l === "live" && this.link === "lost") void this.learn();
    this.link = l;
  }

  private take(u: Update): void {
    this.skew = u.at - Date.now();
    this.trouble = u.trouble ?? "";
    this.asked = u.asked ?? 0;
    this.logs = u.logs ?? "";
    this.maintenances = u.maintenances ?? this.maintenances;
    this.started = true;
    const before = this.fans.size;
    if (u.whole) this.fans.clear();
    let added = u.whole === true;
    for (const v of u.fans ?? []) {
      const old = this.fans.get(v.name);
      added ||= old === undefined;
      this.fans.set(v.name, fanOf(v, old));
    }
    for (const name of u.gone ?? []) this.fans.delete(name);
    u.latest.name?.forEach((name, i) => {
      const f = this.fans.get(name);
      if (!f) return;
      f.t = u.latest.t?.[i] ?? 0;
      f.rpm = u.latest.rpm?.[i] ?? 0;
      f.score = u.latest.score?.[i] ?? 0;
      f.rotor = u.latest.rotor?.[i] ?? "";
      f.seenKind = u.latest.kind?.[i] ?? "";
    });
    if (added || this.fans.size !== before) this.rank();
    if (u.alerts !== this.alertsVersion || !this.alertsKnown) {
      this.alertsVersion = u.alerts;
      void this.loadAlerts();
    }
  }

  private rank(): void {
    const order = new Intl.Collator(undefined, { numeric: true });
    [...this.fans.values()].sort((a, b) => order.compare(a.name, b.name)).forEach((f, i) => (f.rank = i));
  }

  private async learn(): Promise<void> {
    try {
      this.about = await get<About>("api/about");
      this.changed();
    } catch {
      // The stream's own trouble tells of it; asked again when the stream is back.
    }
  }

  private async loadAlerts(): Promise<void> {
    try {
      this.alerts = (await get<{ alerts: Alert[] }>("api/alerts")).alerts;
      this.alertsKnown = true;
      this.changed();
    } catch {
      this.alertsVersion = 0; // asked again with the next update
    }
  }

  private changed(): void {
    for (const f of this.listeners) f();
  }
}

/** Answered is a failure that the server told of; every other one is that it did not answer. */
export class Answered extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** get asks the server for JSON; a failure is an Error whose message is a sentence. */
export async function get<T>(path: string): Promise<T> {
  return read<T>(await reach(path));
}

/** post sends JSON. */
export async function post<T>(path: string, body: unknown): Promise<T> {
  return read<T>(
    await reach(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  );
}

async function reach(path: string, init?: RequestInit): Promise<Response> {
  try {
    return await fetch(path, { ...init, signal: AbortSignal.timeout(15_000) });
  } catch {
    throw new Error("The server does not answer.");
  }
}

async function read<T>(r: Response): Promise<T> {
  const v: unknown = await r.json().catch(() => null);
  if (!r.ok) {
    const why = (v as { error?: unknown } | null)?.error;
    throw new Answered(r.status, typeof why === "string" ? why : `The server answered ${r.status}.`);
  }
  return v as T;
}
