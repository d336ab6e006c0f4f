// Alerts: what is wrong, how far it has escalated, and the button that stops it.

import { arrange, h, put, setAttr, setText } from "./dom";
import { look, over, post, type Alert, type Failure, type Store } from "./store";
import { badge, sayFor, setBadge, time, topicName } from "./words";

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
const ofNoFan = new Set(["pipeline", "difference"]);

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
  }

  update(): void {
    setAttr(this.loading, "hidden", this.store.alertsKnown);
    for (const l of this.lists) {
      const alerts = this.store.alerts.filter(l.holds);
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
    setAttr(this.form.el, "hidden", a.state !== "open");
    const key = JSON.stringify([a, this.store.about.workflows]);
    if (key === this.shown) return;
    this.shown = key;
    setBadge(this.state, a.kind, a.severity);
    setText(this.severity, a.severity ?? "");
    setAttr(this.el, "data-tone", this.state.dataset["tone"]);
    put(
      this.facts,
      ...fact("Since", time(opened)),
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
      ...(a.ended_at ? fact(a.state === "terminated" ? "Ended" : "Resolved", time(Date.parse(a.ended_at))) : []),
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

/** AckForm takes an alert on. The name is asked once and remembered; the note may be left out. */
class AckForm {
  readonly el: HTMLFormElement;
  private readonly by = h("input", {
    name: "by",
    autocomplete: "name",
    maxlength: 100,
    required: true,
    value: rememberedName(),
  });
  private readonly note = h("input", { name: "note", maxlength: 300, autocomplete: "off", placeholder: "optional" });
  private readonly button = h("button", { type: "submit", class: "primary" }, "Acknowledge");
  private readonly said = h("p", { class: "said", role: "status" });

  constructor(private readonly alert: Alert) {
    this.el = h(
      "form",
      { class: "ack", submit: e => void this.send(e) },
      h("label", {}, "Your name", this.by),
      h("label", { class: "wide" }, "Note", this.note),
      this.button,
      this.said,
    );
  }

  private async send(e: Event): Promise<void> {
    e.preventDefault();
    const by = this.by.value.trim();
    if (by === "") {
      setText(this.said, "Say who you are first.");
      this.by.focus();
      return;
    }
    rememberName(by);
    this.button.disabled = true;
    setText(this.said, "Sending.");
    try {
      await post("api/alerts/ack", { id: this.alert.id, by, note: this.note.value.trim() });
      setText(this.said, "Acknowledged. The alert moves down as soon as its workflow says so.");
    } catch (err) {
      this.button.disabled = false;
      setText(this.said, `Not acknowledged: ${err instanceof Error ? err.message : String(err)}`);
    }
  }
}
