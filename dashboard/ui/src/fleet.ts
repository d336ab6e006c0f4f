// The fleet: every fan on a line, trouble first. No more than a page of lines is in the document, so
// that 10,000 fans cost sorting and nothing else.

import { arrange, h, setAttr, setText } from "./dom";
import type { Fan, Store } from "./store";
import { Badges, sayFanScore, sayFor, sayJudged, sayRPM, sayTime, time, wordsFor, type Words } from "./words";

const page = 200;

type Column = "state" | "name" | "site" | "rpm" | "score" | "seen" | "since";
type Filter = "all" | "trouble" | "look" | "normal" | "other";

const columns: { key: Column; name: string; down?: boolean; number?: boolean }[] = [
  { key: "state", name: "State", down: true },
  { key: "name", name: "Fan" },
  { key: "site", name: "Site" },
  { key: "rpm", name: "RPM", down: true, number: true },
  { key: "score", name: "Score", down: true, number: true },
  { key: "seen", name: "Last reading", down: true, number: true },
  { key: "since", name: "For", down: true, number: true },
];

/** What the person chose stays chosen while other views are open. */
const chosen = { sort: "state" as Column, down: true, filter: "all" as Filter, search: "" };

export class FleetView {
  readonly title = "Fleet";
  readonly el = h("section", { class: "fleet", "aria-label": "Fleet" });
  private limit = page;
  private readonly lines = new Map<string, Line>();
  private readonly body = h("tbody", { role: "rowgroup" });
  private readonly heads = new Map<Column, HTMLElement>();
  private readonly filters = new Map<Filter, HTMLButtonElement>();
  private readonly empty = h("p", { class: "empty" });
  private readonly more = h("button", { type: "button", class: "more", click: () => this.showMore() });
  private readonly table: HTMLElement;
  private readonly plans = h("ul", { class: "plans quiet", "aria-label": "Maintenance" });
  private planned = ""; // what is drawn of them

  constructor(private readonly store: Store) {
    const search = h("input", {
      type: "search",
      placeholder: "Fan or site",
      "aria-label": "Search by fan or site",
      value: chosen.search,
      autocomplete: "off",
    });
    search.addEventListener("input", () => this.choose({ search: search.value }));
    const bar = h("div", { class: "filters", role: "group", "aria-label": "Show" });
    for (const f of ["all", "trouble", "look", "normal", "other"] as Filter[]) {
      const b = h("button", { type: "button", click: () => this.choose({ filter: f }) });
      this.filters.set(f, b);
      bar.append(b);
    }
    const head = h("tr", { role: "row" });
    for (const c of columns) {
      const th = h(
        "th",
        { role: "columnheader", scope: "col", class: `c-${c.key}` },
        h("button", { type: "button", click: () => this.sortBy(c.key) }, c.name),
      );
      this.heads.set(c.key, th);
      head.append(th);
    }
    this.table = h(
      "table",
      { role: "table", "aria-label": "Fans" },
      h("thead", { role: "rowgroup" }, head),
      this.body,
    );
    this.el.append(
      h("h1", { class: "sr" }, "Fleet"),
      this.plans,
      h("div", { class: "bar" }, bar, search),
      this.table,
      this.empty,
      this.more,
    );
  }

  update(): void {
    // the server remembers some of them, for their pages
    const fans = [...this.store.fans.values()].filter(f => f.phase !== "retired");
    const wanted = chosen.search.trim().toLowerCase();
    const counts: Record<Filter, number> = { all: 0, trouble: 0, look: 0, normal: 0, other: 0 };
    const list: Fan[] = [];
    for (const f of fans) {
      const g = group(words(this.store, f));
      counts.all++;
      counts[g]++;
      if (
        (chosen.filter === "all" || chosen.filter === g) &&
        (wanted === "" || f.name.toLowerCase().includes(wanted) || f.site.toLowerCase().includes(wanted))
      )
        list.push(f);
    }
    list.sort(order(this.store, chosen.sort, chosen.down));
    this.drawBar(counts);
    this.drawPlans();
    const visible = list.slice(0, this.limit);
    const rows = visible.map(f => this.line(f).el);
    arrange(this.body, rows);
    if (this.lines.size > 4 * page) this.forget(visible);
    setAttr(this.table, "hidden", list.length === 0);
    setAttr(this.table, "aria-rowcount", list.length + 1);
    setAttr(this.more, "hidden", list.length <= this.limit);
    setText(
      this.more,
      `${this.limit} of ${list.length} shown. Show ${Math.min(page, list.length - this.limit)} more`,
    );
    setAttr(this.empty, "hidden", list.length > 0);
    setText(this.empty, this.nothing(fans.length));
  }

  private nothing(all: number): string {
    if (!this.store.started)
      return this.store.link === "lost" ? "The server does not answer yet." : "Loading the fleet.";
    if (all === 0) return "No fans yet. Each appears here as soon as it is provisioned or its first reading arrives.";
    if (chosen.search.trim() !== "") return `No fan or site matches \u201c${chosen.search.trim()}\u201d here.`;
    return chosen.filter === "trouble" ? "No fan is in trouble." : "No fan is in this state.";
  }

  private drawBar(counts: Record<Filter, number>): void {
    const names: Record<Filter, string> = {
      all: "All",
      trouble: "In trouble",
      look: "Worth a look",
      normal: "Normal",
      other: "Other",
    };
    for (const [f, b] of this.filters) {
      setText(b, `${names[f]} ${counts[f]}`);
      setAttr(b, "aria-pressed", String(chosen.filter === f));
      setAttr(b, "hidden", (f === "other" || f === "look") && counts[f] === 0 && chosen.filter !== f);
    }
    for (const [c, th] of this.heads)
      setAttr(th, "aria-sort", c === chosen.sort ? (chosen.down ? "descending" : "ascending") : null);
  }

  /** drawPlans lists the maintenances that run or are planned. */
  private drawPlans(): void {
    const now = this.store.now();
    const lines = this.store.maintenances
      .filter(m => Date.parse(m.until) > now)
      .map(m => {
        const of = m.fan ?? m.site ?? "all fans";
        const runs = Date.parse(m.begin) <= now;
        const what = m.mute ? `${of} is muted` : runs ? `${of} is in maintenance` : `Maintenance of ${of}`;
        const from = runs ? "" : ` from ${sayTime(Date.parse(m.begin))}`;
        const why = m.why ? `: ${m.why}` : "";
        return `${what}${from} until ${sayTime(Date.parse(m.until))}${m.repeat ? ", repeated" : ""}, by ${m.by}${why}`;
      });
    setAttr(this.plans, "hidden", lines.length === 0);
    if (lines.join("\n") === this.planned) return;
    this.planned = lines.join("\n");
    this.plans.replaceChildren(...lines.map(l => h("li", {}, l)));
  }

  private line(f: Fan): Line {
    let l = this.lines.get(f.name);
    if (!l) this.lines.set(f.name, (l = new Line(f.name)));
    l.update(f, this.store);
    return l;
  }

  private forget(visible: Fan[]): void {
    const keep = new Set(visible.map(f => f.name));
    for (const name of this.lines.keys()) if (!keep.has(name)) this.lines.delete(name);
  }

  private choose(c: Partial<typeof chosen>): void {
    Object.assign(chosen, c);
    this.limit = page;
    this.update();
  }

  private sortBy(key: Column): void {
    const first = columns.find(c => c.key === key)?.down ?? false;
    this.choose({ sort: key, down: chosen.sort === key ? !chosen.down : first });
  }

  private showMore(): void {
    this.limit += page;
    this.update();
  }
}

/** Line is one fan's row. */
class Line {
  readonly el: HTMLTableRowElement;
  private readonly badges = new Badges();
  private readonly site = h("td", { role: "cell", class: "c-site" });
  private readonly rpm = h("td", { role: "cell", class: "c-rpm" });
  private readonly score = h("td", { role: "cell", class: "c-score" });
  private readonly seen = h("td", { role: "cell", class: "c-seen" });
  private readonly since = h("td", { role: "cell", class: "c-since" });
  private sinceAt = 0;

  constructor(name: string) {
    const link = h("a", { href: `#/fan/${encodeURIComponent(name)}` }, name);
    this.el = h(
      "tr",
      { role: "row" },
      h("td", { role: "cell", class: "c-state" }, this.badges.el),
      h("td", { role: "rowheader", class: "c-name" }, link),
      this.site,
      this.rpm,
      this.score,
      this.seen,
      this.since,
    );
  }

  update(f: Fan, store: Store): void {
    const state = store.state(f);
    const now = store.now();
    const fresh = store.fresh(f);
    const shown = this.badges.update(f, state, (state === "unjudged" ? f.unjudged_why : f.why) || null);
    setAttr(this.el, "data-tone", shown.tone);
    setText(this.site, f.site);
    setText(this.rpm, fresh ? sayRPM(f.rpm) : "\u2013");
    setAttr(this.rpm, "title", sayLast(f, now));
    const [score, title] = fresh ? sayFanScore(f) : ["\u2013", null];
    setText(this.score, score);
    setAttr(this.score, "title", title);
    const [seen, why] = sayJudged(f, store);
    setText(this.seen, seen);
    setAttr(this.seen, "title", why);
    if (f.since !== this.sinceAt || !this.since.firstElementChild) {
      this.sinceAt = f.since;
      this.since.replaceChildren(f.since ? time(f.since, "") : h("span", {}, "\u2013"));
    }
    if (f.since)
      setText(
        this.since.firstElementChild!,
        state === "unknown"
          ? "\u2013"
          : sayFor(now - (state === "unjudged" && f.unjudged_since ? f.unjudged_since : f.since)),
      );
  }
}

/** sayLast tells of the newest reading that is known. */
function sayLast(f: Fan, now: number): string {
  if (f.t) return `${sayRPM(f.rpm)} RPM, ${sayFor(now - f.t)} ago`;
  return f.known
    ? `${sayRPM(f.known_rpm)} RPM at its last change of state, ${sayFor(now - f.known)} ago`
    : "No reading is known";
}

/** words are those of the fan's state. */
function words(store: Store, f: Fan): Words {
  const state = store.state(f);
  return wordsFor(state, state !== "" && state === f.kind ? f.severity : "");
}

function group(w: Words): Exclude<Filter, "all"> {
  return w.gravity >= 4 ? "trouble" : w.gravity > 3 ? "look" : w.gravity === 1 ? "normal" : "other";
}

/** seenAt orders fans by when a reading was last judged. */
function seenAt(f: Fan): number {
  return f.judging === "now" ? Infinity : f.judged_at || f.unjudged_since || f.t;
}

/** order sorts by a column and then by name. */
function order(store: Store, key: Column, down: boolean): (a: Fan, b: Fan) => number {
  const sign = down ? -1 : 1;
  const by: Record<Column, (a: Fan, b: Fan) => number> = {
    state: (a, b) => sign * (words(store, a).gravity - words(store, b).gravity),
    name: (a, b) => sign * (a.rank - b.rank),
    site: (a, b) => sign * (a.site < b.site ? -1 : a.site > b.site ? 1 : 0),
    rpm: (a, b) => sign * (a.rpm - b.rpm),
    score: (a, b) => sign * (a.score - b.score),
    seen: (a, b) => sign * (seenAt(b) === seenAt(a) ? 0 : seenAt(b) < seenAt(a) ? -1 : 1), // the longest ago first
    since: (a, b) => sign * (b.since - a.since), // the longest has the smallest beginning
  };
  return (a, b) => by[key](a, b) || a.rank - b.rank;
}
