// Alerts: what is wrong, how far it has escalated, and the button that stops it.

import { arrange, h, put, setAttr, setText } from "./dom";
import { folded, look, over, post, type Alert, type Answer, type Failure, type Store } from "./store";
import { badge, fullTime, sayFor, setBadge, time, topicName } from "./words";

const nameKey = "fanwatch-name";

/** Whoever acknowledges says who they are once; this browser remembers it. */
function rememberedName(): string {
  try {
    return localStorage.getItem(nameKey) ?? "";
  } catch {
    return ""; // storage is switched off: asked again on the next visit
  }
}

function rememberName(name: string): void {
  try {
    localStorage.setItem(nameKey, name);
  } catch {
    // see rememberedName
  }
}

/** How many alerts that are over the server tells of at most. */
const newestOver = 200;

/** Alerts of these kinds are not of a fan: what stands in its place names a part of fanwatch, or readings. */
const ofNoFan = new Set(["pipeline", "difference", "incident"]);

export class AlertsView {
  readonly title = "Alerts";
  readonly el = h("section", { class: "alerts" });
  private readonly lists: {
    holds: (a: Alert) => boolean;
    none: string;
    list: AlertList;
    box: HTMLElement;
    count: HTMLElement;
    empty: HTMLElement;
  }[];
  private readonly loading = h("p", { class: "empty" }, "Loading the alerts.");
  private readonly many = new ManyForm();

  constructor(private readonly store: Store) {
    const texts: [(a: Alert) => boolean, string, string][] = [
      [
        a => a.state === "open" && !look(a),
        "Open",
        "No alert is open. When a fan fails, its alert appears here and escalates until somebody acknowledges it.",
      ],
      [
        a => a.state === "open" && look(a),
        "Worth a look",
        "Nothing is worth a look. What is appears here at once and is told in the morning; it wakes nobody.",
      ],
      [a => a.state === "acknowledged", "Acknowledged", "Nobody is working on an alert."],
      [over, "Over", "No alert is over yet. An alert resolves by itself when its fan runs normally again."],
    ];
    this.lists = texts.map(([holds, name, none]) => {
      const list = new AlertList(store);
      const count = h("span", { class: "count" });
      const empty = h("p", { class: "empty" }, none);
      return {
        holds,
        none,
        list,
        count,
        empty,
        box: h("section", { "aria-label": name }, h("h2", {}, name, " ", count), empty, list.el),
      };
    });
    this.el.append(h("h1", { class: "sr" }, "Alerts"), this.loading, ...this.lists.map(l => l.box));
    this.lists[0]?.box.insertBefore(this.many.el, this.lists[0].list.el);
  }

  update(): void {
    setAttr(this.loading, "hidden", this.store.alertsKnown);
    this.many.update(this.store.alerts.filter(a => a.state === "open" && !look(a)));
    const shown = folded(this.store.alerts);
    for (const l of this.lists) {
      const alerts = shown.filter(l.holds);
      setAttr(l.box, "hidden", !this.store.alertsKnown);
      setAttr(l.empty, "hidden", alerts.length > 0);
      setText(l.empty, this.store.link === "lost" ? "Not known while there is no connection." : l.none);
      setText(
        l.count,
        alerts.length >= newestOver && alerts.every(over)
          ? `the newest ${alerts.length}`
          : alerts.length
            ? String(alerts.length)
            : "",
      );
      l.list.update(alerts);
    }
  }
}

/** AlertList shows alerts as cards; a card stays in place while a note is being written into it. */
export class AlertList {
  readonly el = h("ul", { class: "cards" });
  private readonly cards = new Map<string, Card>();

  constructor(private readonly store: Store) {}

  update(alerts: Alert[]): void {
    const ids = new Set(alerts.map(a => a.id));
    for (const id of this.cards.keys()) if (!ids.has(id)) this.cards.delete(id);
    arrange(
      this.el,
      alerts.map(a => {
        let c = this.cards.get(a.id);
        if (!c) this.cards.set(a.id, (c = new Card(this.store, a)));
        c.update(a);
        return c.el;
      }),
    );
    setAttr(this.el, "hidden", alerts.length === 0);
  }
}

class Card {
  readonly el: HTMLLIElement;
  private readonly state = badge("");
  private readonly severity = h("span", { class: "quiet" });
  private readonly age = h("span", { class: "age" });
  private readonly facts = h("dl", { class: "facts" });
  private readonly form: AckForm;
  private shown = "";

  constructor(
    private readonly store: Store,
    a: Alert,
  ) {
    this.form = new AckForm(a);
    const fan = ofNoFan.has(a.kind) ? a.fan : h("a", { href: `#/fan/${encodeURIComponent(a.fan)}` }, a.fan);
    this.el = h(
      "li",
      { class: "card" },
      h(
        "article",
        { "aria-label": `${a.fan}: ${a.kind}` },
        h(
          "header",
          {},
          this.state,
          this.severity,
          h("h3", {}, fan),
          a.site ? h("span", { class: "quiet" }, a.site) : null,
          this.age,
        ),
        h("p", { class: "why" }, a.why || "No sentence was given."),
        this.facts,
        this.form.el,
      ),
    );
  }

  update(a: Alert): void {
    const opened = Date.parse(a.opened);
    setText(
      this.age,
      a.ended_at
        ? `over after ${sayFor(Date.parse(a.ended_at) - opened)}`
        : over(a)
          ? "over"
          : `for ${sayFor(this.store.now() - opened)}`,
    );
    setAttr(this.el, "data-state", a.state);
    this.form.update(a, this.store.now());
    const key = JSON.stringify([a, this.store.about.workflows]);
    if (key === this.shown) return;
    this.shown = key;
    setBadge(this.state, a.kind, a.severity);
    setText(this.severity, a.severity ?? "");
    setAttr(this.severity, "hidden", !a.severity);
    setAttr(this.el, "data-tone", this.state.dataset["tone"]);
    put(
      this.facts,
      ...fact("Since", time(opened)),
      ...(a.joined ? fact("Fans", members(a)) : []),
      ...(a.incident ? fact("Part of", `${a.incident}, which notifies in its place`) : []),
      ...fact(
        "Escalation",
        look(a)
          ? "none: it is worth a look, and told in the morning"
          : a.steps
            ? (a.step ? `Step ${a.step} of ${a.steps}` : `Before step 1 of ${a.steps}`) +
              (a.round ? `, round ${a.round + 1}` : "")
            : "none",
      ),
      ...fact("Told", told(a)),
      ...(a.failed?.length ? fact("Not told", failures(a.failed)) : []),
      ...(a.well_from && !over(a)
        ? fact("Normal since", h("span", {}, time(Date.parse(a.well_from)), ", closes when that has held"))
        : []),
      ...(a.returns ? fact("Came back", a.returns === 1 ? "once" : `${a.returns} times`) : []),
      ...(a.acked_by
        ? fact(
            "Acknowledged",
            h(
              "span",
              {},
              `by ${a.acked_by} `,
              a.acked_at ? time(Date.parse(a.acked_at)) : null,
              a.note ? `: ${a.note}` : "",
            ),
          )
        : []),
      ...(a.snoozed_until && !over(a) ? fact("Snoozed until", time(Date.parse(a.snoozed_until))) : []),
      ...(a.answers?.length ? fact("Answers", answers(a.answers)) : []),
      ...(a.label
        ? fact(
            "Said",
            h(
              "span",
              {},
              a.label === "normal" ? "This is normal, " : "It is a fault, ",
              `by ${a.labelled_by ?? ""} `,
              a.labelled_at ? time(Date.parse(a.labelled_at)) : null,
            ),
          )
        : []),
      ...(a.ended_at
        ? fact(
            a.state === "terminated" ? "Ended" : "Resolved",
            h("span", {}, time(Date.parse(a.ended_at)), a.ended_by ? ` by ${a.ended_by}` : ""),
          )
        : []),
      ...(a.state === "terminated"
        ? fact("Terminated", "Its workflow was ended from outside: nothing more is told of it.")
        : []),
      ...(this.store.about.workflows
        ? fact(
            "Workflow",
            h(
              "a",
              { href: this.store.about.workflows + encodeURIComponent(a.id), target: "_blank", rel: "noopener" },
              "Open in Temporal",
            ),
          )
        : []),
    );
  }
}

function fact(name: string, value: Node | string): HTMLElement[] {
  return [h("dt", {}, name), h("dd", {}, value)];
}

/** members folds the fans of an incident; those that are normal again are crossed off. */
function members(a: Alert): HTMLElement {
  const list = a.members ?? [];
  const rest = (a.joined ?? 0) - list.length;
  return h(
    "details",
    {},
    h("summary", {}, `${a.troubled ?? 0} in trouble of ${a.joined ?? 0}${a.fans ? `; the place has ${a.fans}` : ""}`),
    h(
      "ul",
      { class: "told" },
      ...list.map(m => {
        const link = h("a", { href: `#/fan/${encodeURIComponent(m.fan)}` }, m.fan);
        return h("li", {}, m.over ? h("s", {}, link) : link, h("span", { class: "quiet" }, ` ${m.kind}`));
      }),
      rest > 0 ? h("li", {}, `and ${rest} more`) : null,
    ),
  );
}

function failures(list: Failure[]): HTMLElement {
  return h(
    "ul",
    { class: "told" },
    ...list.map(f =>
      h(
        "li",
        {},
        h("strong", { title: f.to }, topicName(f.to)),
        " ",
        time(Date.parse(f.at)),
        h("span", { class: "quiet" }, ` step ${f.step}: ${f.why}`),
      ),
    ),
  );
}

const done: Record<Answer["action"], string> = {
  acknowledge: "acknowledged",
  snooze: "snoozed",
  hand: "handed over",
  note: "noted",
  resolve: "resolved",
  unacknowledge: "gave it back",
};

/** How many answers of an alert are shown, the newest. */
const newestAnswers = 5;

function answers(list: Answer[]): HTMLElement {
  return h(
    "ul",
    { class: "told" },
    ...list
      .slice(-newestAnswers)
      .map(a =>
        h(
          "li",
          {},
          `${a.by} ${done[a.action] ?? a.action}`,
          a.to ? ` to ${a.to}` : "",
          a.until ? ` until ${fullTime(Date.parse(a.until))}` : "",
          a.at ? ", " : "",
          a.at ? time(Date.parse(a.at)) : null,
          h("span", { class: "quiet" }, a.from ? ` from ${a.from}` : "", a.note ? `: ${a.note}` : ""),
        ),
      ),
  );
}

function told(a: Alert): Node | string {
  const list = a.told ?? [];
  if (list.length === 0) return "nobody yet";
  const say = (n: (typeof list)[number]): HTMLElement =>
    h(
      "li",
      {},
      h("span", { title: n.to }, topicName(n.to)),
      " ",
      time(Date.parse(n.at)),
      h("span", { class: "quiet" }, ` step ${n.step}`),
    );
  const recent = list.slice(-3).map(say);
  const earlier = list.slice(0, -3).map(say);
  const forgotten = Math.max(0, (a.notices ?? 0) - list.length);
  return h(
    "ul",
    { class: "told" },
    earlier.length
      ? h(
          "li",
          {},
          h(
            "details",
            {},
            h("summary", {}, `${earlier.length + forgotten} earlier`),
            h(
              "ul",
              { class: "told" },
              forgotten ? h("li", {}, `${forgotten} of which only the number is kept`) : null,
              ...earlier,
            ),
          ),
        )
      : null,
    ...recent,
  );
}

/** For so long after its end something may be said of an alert. */
const sayFor7Days = 7 * 24 * 3600_000;

/**
 * AckForm takes an alert on, and says what a person knows of it: also of one that is acknowledged or over. The name is
 * asked once and remembered; the note may be left out.
 */
class AckForm {
  readonly el = h("div");
  private readonly form: HTMLFormElement;
  private readonly opener = h(
    "button",
    { type: "button", class: "second opener", click: () => this.expand() },
    "Say what it was",
  );
  private expanded = false;
  private readonly by = h("input", {
    name: "by",
    autocomplete: "name",
    maxlength: 100,
    required: true,
    value: rememberedName(),
  });
  private readonly note = h("input", { name: "note", maxlength: 300, autocomplete: "off", placeholder: "optional" });
  private readonly button = h("button", { type: "submit", class: "primary" }, "Acknowledge");
  private readonly normal = h("button", { type: "submit", class: "second", value: "normal" }, "This is normal");
  private readonly fault = h("button", { type: "submit", class: "second", value: "fault" }, "It is a fault");
  private readonly action = h(
    "select",
    { name: "action", change: () => this.choose() },
    h("option", { value: "snooze" }, "Snooze until"),
    h("option", { value: "hand" }, "Hand over to"),
    h("option", { value: "note" }, "Add the note"),
    h("option", { value: "resolve" }, "Resolve, for the note\u2019s reason"),
    h("option", { value: "unacknowledge" }, "Give back"),
  );
  private readonly until = h("input", {
    name: "until",
    type: "datetime-local",
    value: inAnHour(),
    "aria-label": "Until",
  });
  private readonly to = h("input", {
    name: "to",
    maxlength: 100,
    autocomplete: "off",
    "aria-label": "To whom",
    hidden: true,
  });
  private readonly act = h("button", { type: "submit", class: "second", value: "act" }, "Do it");
  private readonly more = h(
    "details",
    { class: "wide other" },
    h("summary", {}, "More"),
    h(
      "div",
      { class: "acts", keydown: e => this.enter(e as KeyboardEvent) },
      this.action,
      this.until,
      this.to,
      this.act,
    ),
  );
  private readonly said = h("p", { class: "said", role: "status" });
  private state: Alert["state"] = "open";

  constructor(private readonly alert: Alert) {
    this.form = h(
      "form",
      { class: "ack", submit: e => void this.send(e as SubmitEvent) },
      h("label", {}, "Your name", this.by),
      h("label", { class: "wide" }, "Note", this.note),
      this.button,
      ...(ofNoFan.has(alert.kind) ? [] : [this.normal, this.fault]),
      this.more,
      this.said,
    );
    this.el.append(this.opener, this.form);
    this.normal.title = "The fan is to run like this: it counts as usual from now on";
    this.fault.title = "It is never learned as usual";
  }

  update(a: Alert, now: number): void {
    const old = a.ended_at !== undefined && now - Date.parse(a.ended_at) > sayFor7Days;
    const silent = a.state === "terminated" || old || (over(a) && ofNoFan.has(a.kind));
    const open = a.state === "open";
    if (this.state !== a.state) {
      this.state = a.state;
      this.button.disabled = false;
    }
    setAttr(this.el, "hidden", silent);
    setAttr(this.opener, "hidden", open || this.expanded);
    setAttr(this.form, "hidden", silent || (!open && !this.expanded));
    setText(this.opener, over(a) ? "Say what it was" : "Answer");
    setText(this.button, open ? "Acknowledge" : "Take over");
    setAttr(this.button, "hidden", over(a));
    setAttr(this.more, "hidden", over(a));
    setAttr(this.normal, "aria-pressed", String(a.label === "normal"));
    setAttr(this.fault, "aria-pressed", String(a.label === "fault"));
  }

  private expand(): void {
    this.expanded = true;
    this.by.value ||= rememberedName();
    setAttr(this.opener, "hidden", true);
    setAttr(this.form, "hidden", false);
    this.by.focus();
  }

  private async send(e: SubmitEvent): Promise<void> {
    e.preventDefault();
    const by = this.by.value.trim();
    if (by === "") {
      setText(this.said, "Say who you are first.");
      this.by.focus();
      return;
    }
    rememberName(by);
    const pressed = e.submitter instanceof HTMLButtonElement ? e.submitter.value : "";
    const buttons = [this.button, this.normal, this.fault, this.act];
    for (const b of buttons) b.disabled = true;
    setText(this.said, "Sending.");
    try {
      setText(this.said, await this.tell(by, pressed));
    } catch (err) {
      setText(
        this.said,
        `Not ${pressed ? "done" : "acknowledged"}: ${err instanceof Error ? err.message : String(err)}`,
      );
      this.button.disabled = false;
    }
    for (const b of buttons) if (b !== this.button || pressed) b.disabled = false;
  }

  /** tell sends what a button stands for, and returns what came of it. */
  private async tell(by: string, pressed: string): Promise<string> {
    const id = this.alert.id;
    const note = this.note.value.trim();
    if (pressed === "normal" || pressed === "fault" || (pressed === "" && this.state === "open")) {
      await post("api/alerts/ack", { id, by, note, verdict: pressed });
      return pressed ? sayVerdict(pressed, this.alert.kind) : acknowledged;
    }
    const action = (pressed ? this.action.value : "acknowledge") as Answer["action"];
    const answer: Answer = { action, by, note };
    if (action === "hand") answer.to = this.to.value.trim();
    if (action === "snooze") {
      const until = new Date(this.until.value);
      if (isNaN(until.getTime())) throw new Error("say until when to snooze.");
      answer.until = until.toISOString();
    }
    await post("api/alerts/answer", { ids: [id], answer });
    return pressed ? "Done. The alert shows it as soon as its workflow says so." : acknowledged;
  }

  /** enter has the key Enter do what is chosen; by itself it would press the form's first button. */
  private enter(e: KeyboardEvent): void {
    if (e.key !== "Enter" || !(e.target instanceof HTMLInputElement)) return;
    e.preventDefault();
    this.form.requestSubmit(this.act);
  }

  private choose(): void {
    setAttr(this.until, "hidden", this.action.value !== "snooze");
    setAttr(this.to, "hidden", this.action.value !== "hand");
  }
}

/** inAnHour gives the time in an hour as an input of local time takes it. */
function inAnHour(): string {
  const t = new Date(Date.now() + 3600_000);
  return new Date(t.getTime() - t.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** How many alerts the server takes an answer to at once. */
const mostAtOnce = 500;

/** ManyForm acknowledges all open alerts, or all of one site. */
class ManyForm {
  readonly el: HTMLDetailsElement;
  private alerts: Alert[] = [];
  private shown = "";
  private readonly site = h("select", { name: "site", change: () => this.count() });
  private readonly by = h("input", { name: "by", autocomplete: "name", maxlength: 100, required: true });
  private readonly note = h("input", { name: "note", maxlength: 300, autocomplete: "off", placeholder: "optional" });
  private readonly button = h("button", { type: "submit", class: "primary" });
  private readonly said = h("p", { class: "said", role: "status" });

  constructor() {
    this.by.value = rememberedName();
    this.el = h(
      "details",
      { class: "many" },
      h("summary", {}, "Acknowledge several"),
      h(
        "form",
        { class: "acks", submit: e => void this.send(e) },
        h("label", {}, "Of", this.site),
        h("label", {}, "Your name", this.by),
        h("label", { class: "wide" }, "Note", this.note),
        this.button,
        this.said,
      ),
    );
  }

  update(open: Alert[]): void {
    this.alerts = open;
    setAttr(this.el, "hidden", open.length < 2 && this.said.textContent === "");
    const sites = [...new Set(open.map(a => a.site ?? ""))].filter(s => s !== "").sort();
    const key = JSON.stringify(sites);
    if (key !== this.shown) {
      this.shown = key;
      const chosen = this.site.value;
      put(this.site, h("option", { value: "" }, "all sites"), ...sites.map(s => h("option", { value: s }, s)));
      this.site.value = sites.includes(chosen) ? chosen : "";
    }
    this.count();
  }

  /** chosen gives the IDs of the alerts that are to be acknowledged. */
  private chosen(): string[] {
    const site = this.site.value;
    return this.alerts.filter(a => site === "" || a.site === site).map(a => a.id);
  }

  private count(): void {
    const n = Math.min(this.chosen().length, mostAtOnce);
    setText(this.button, n === 1 ? "Acknowledge 1 alert" : `Acknowledge ${n} alerts`);
    setAttr(this.button, "hidden", n === 0);
  }

  private async send(e: Event): Promise<void> {
    e.preventDefault();
    const by = this.by.value.trim();
    const ids = this.chosen().slice(0, mostAtOnce);
    if (by === "" || ids.length === 0) return;
    rememberName(by);
    this.button.disabled = true;
    setText(this.said, "Sending.");
    try {
      const answer: Answer = { action: "acknowledge", by, note: this.note.value.trim() };
      const { failed = [] } = await post<{ failed?: { id: string; why: string }[] }>("api/alerts/answer", {
        ids,
        answer,
      });
      setText(
        this.said,
        failed.length === 0
          ? `Acknowledged: ${ids.length}.`
          : `Acknowledged: ${ids.length - failed.length}. Not: ${failed.length}, such as ${failed[0]?.why}`,
      );
    } catch (err) {
      setText(this.said, `Not acknowledged: ${err instanceof Error ? err.message : String(err)}`);
    }
    this.button.disabled = false;
  }
}

const acknowledged = "Acknowledged. The alert moves down as soon as its workflow says so.";

/** Trouble of these kinds does not end by being called normal. */
const neverNormal = new Set(["stall", "underspeed", "overspeed", "silent", "frozen", "publishers"]);

function sayVerdict(verdict: string, kind: string): string {
  if (verdict === "fault") return "Kept: it is never learned as usual.";
  return neverNormal.has(kind)
    ? "Kept. Trouble of this kind cannot be made normal: it stays quiet until it ends. Change the fan's limits, " +
        "hours or kind with fanwatch configure."
    : "Kept: it counts as usual from now on, and the alert ends when the fan's readings are judged by it.";
}
