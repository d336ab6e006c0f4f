// What the page knows, kept up by the server's event stream (see events.go and board.go for the format).

export interface Fan {
  name: string;
  site: string;
  phase: string; // "" when no workflow knows the fan
  kind: string;
  since: number; // Unix milliseconds as every time here, 0 when unknown
  why: string;
  alert: string;
  muted: number;
  min_rpm: number;
  max_rpm: number;
  t: number; // of the newest reading, 0 before the first
  rpm: number;
  score: number;
  rotor: string;
  rank: number; // place in the order of names
}

export interface Notice {
  key: string;
  step: number;
  to: string;
  at: string;
}

export interface Alert {
  id: string;
  fan: string;
  site?: string;
  kind: string;
  opened: string;
  why: string;
  state: "open" | "acknowledged" | "resolved";
  step: number;
  steps: number;
  told?: Notice[];
  acked_by?: string;
  acked_at?: string;
  note?: string;
  ended_at?: string;
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
    site: "", phase: "", kind: "", since: 0, why: "", alert: "", muted: 0, min_rpm: 0, max_rpm: 0, ...line,
    t: old?.t ?? 0, rpm: old?.rpm ?? 0, score: old?.score ?? 0, rotor: old?.rotor ?? "", rank: old?.rank ?? 0,
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
}

export type Link = "connecting" | "live" | "lost";

/** A stream that says nothing for this long is dead: the server's beat comes every 15 s. */
const silence = 40_000;

export class Store {
  readonly fans = new Map<string, Fan>();
  alerts: Alert[] = [];
  alertsKnown = false;
  alertsVersion = 0;
  about: About = { inbox: false, history: false };
  link: Link = "connecting";
  linkSince = Date.now();
  trouble = "";
  asked = 0;
  started = false; // the first update has come

  private skew = 0; // server's clock minus ours
  private stream: EventSource | null = null;
  private heard = Date.now();
  private retry = 0;
  private readonly listeners = new Set<() => void>();

  /** onChange calls f after each change. */
  onChange(f: () => void): void {
    this.listeners.add(f);
  }

  /** now is the server's clock. */
  now(): number {
    return Date.now() + this.skew;
  }

  start(): void {
    void this.learn();
    this.connect();
    setInterval(() => {
      if (this.link === "live" && Date.now() - this.heard > silence) this.lost();
    }, 5000);
    window.addEventListener("online", () => this.link === "lost" && this.connect());
  }

  /** state is the word under which a fan is shown; see words.ts. */
  static state(f: Fan): string {
    if (f.phase === "retired" || f.phase === "provisioning") return f.phase;
    if (f.kind === "" && f.t === 0) return "waiting";
    return f.kind;
  }

  private connect(): void {
    clearTimeout(this.retry);
    this.stream?.close();
    this.heard = Date.now();
    const stream = new EventSource("api/events");
    this.stream = stream;
    stream.addEventListener("update", (e) => {
      this.heard = Date.now();
      this.take(JSON.parse((e as MessageEvent<string>).data) as Update);
      this.setLink("live");
      this.changed();
    });
    stream.addEventListener("beat", () => (this.heard = Date.now()));
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
    if (l !== this.link) {
      this.link = l;
      this.linkSince = Date.now();
    }
  }

  private take(u: Update): void {
    this.skew = u.at - Date.now();
    this.trouble = u.trouble ?? "";
    this.asked = u.asked ?? 0;
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
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** get asks the server for JSON; a failure is an Error whose message is a sentence. */
export async function get<T>(path: string): Promise<T> {
  return read<T>(await reach(path));
}

/** post sends JSON. */
export async function post(path: string, body: unknown): Promise<void> {
  await read(await reach(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }));
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
