// The inbox (what the local SNS has sent) and the refused messages (what was quarantined, and why).

import { h, put, setAttr, setText } from "./dom";
import { get, type Store } from "./store";
import { fullTime, time, topicName } from "./words";

interface Mail {
  id: number;
  time: string;
  to: string;
  subject: string;
  body: string;
  topic: string;
  copies: number;
}

export interface Refusal {
  fan?: string;
  client?: string;
  at: number;
  reason: string;
  payload?: string;
  cut?: boolean;
}

/** Poll asks again every few seconds while its view is open, and remembers the last failure as a sentence. */
class Poll<T> {
  value: T | null = null;
  failed = "";
  private timer = 0;
  private closed = false;

  constructor(
    private readonly path: string,
    private readonly then: () => void,
  ) {
    void this.ask();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private async ask(): Promise<void> {
    try {
      this.value = await get<T>(this.path);
      this.failed = "";
    } catch (e) {
      this.failed = e instanceof Error ? e.message : String(e);
    }
    if (this.closed) return;
    this.timer = window.setTimeout(() => void this.ask(), 4000);
    this.then();
  }
}

export class InboxView {
  readonly title = "Inbox";
  readonly el = h("section", { class: "inbox" });
  private readonly empty = h("p", { class: "empty" });
  private readonly list = h("ul", { class: "cards" });
  private readonly items = new Map<number, HTMLLIElement>();
  private readonly poll = new Poll<{ entries?: Mail[]; more?: boolean }>("api/inbox", () => this.update());

  constructor(_: Store) {
    this.el.append(
      h("h1", {}, "Inbox"),
      h("p", { class: "quiet" }, "What the local SNS has sent to people, newest first."),
      this.empty,
      this.list,
    );
  }

  update(): void {
    const mails = this.poll.value?.entries ?? [];
    const failed = this.poll.failed;
    setText(
      this.empty,
      failed ||
        (this.poll.value
          ? "Nobody was told anything yet. Every notification of an alert appears here."
          : "Loading the inbox."),
    );
    setAttr(this.empty, "hidden", mails.length > 0 && !failed);
    const rows = mails.map(m => {
      let li = this.items.get(m.id);
      if (!li) this.items.set(m.id, (li = mailItem(m)));
      return li;
    });
    if (rows.length !== this.list.children.length || rows.some((r, i) => this.list.children[i] !== r))
      put(this.list, ...rows);
  }

  close(): void {
    this.poll.close();
  }
}

function mailItem(m: Mail): HTMLLIElement {
  return h(
    "li",
    { class: "card" },
    h(
      "article",
      {},
      h(
        "header",
        {},
        h("h3", {}, m.subject || "(no subject)"),
        h("span", { class: "age" }, time(Date.parse(m.time))),
      ),
      h("p", { class: "quiet" }, `To ${m.to} by ${topicName(m.topic)}`),
      h("pre", {}, m.body),
    ),
  );
}

export class RefusedView {
  readonly title = "Refused messages";
  readonly el = h("section", { class: "refused" });
  private readonly box = h("div");
  private readonly poll = new Poll<{ refused: Refusal[]; refused_since: number; refused_unknown?: string }>(
    "api/refused",
    () => this.redraw(),
  );

  constructor(_: Store) {
    this.el.append(
      h("h1", {}, "Refused messages"),
      h("p", { class: "quiet" }, "Messages that could not be accepted, newest first. They stop nothing else."),
      this.box,
    );
    put(this.box, h("p", { class: "empty" }, "Loading."));
  }

  update(): void {
    // Redrawn when its own question is answered.
  }

  close(): void {
    this.poll.close();
  }

  private shown = "";

  private redraw(): void {
    const key = JSON.stringify([this.poll.value, this.poll.failed]);
    if (key === this.shown) return;
    this.shown = key;
    const value = this.poll.value;
    const list = value?.refused ?? [];
    const failed = this.poll.failed ? h("p", { class: "empty" }, this.poll.failed) : null;
    const partly = value && !this.poll.failed && list.length > 0 && (value.refused_unknown || value.refused_since);
    put(
      this.box,
      failed,
      partly
        ? h(
            "p",
            { class: "quiet" },
            value.refused_unknown
              ? `There may be more: ${value.refused_unknown}.`
              : `Since ${fullTime(value.refused_since)}; fanwatch refused lists what came before.`,
          )
        : null,
      !value || (failed && list.length === 0)
        ? null
        : refusals(
            list,
            noRefusals(value, "No message was refused") +
              " A broken payload, a foreign fan or a time far ahead would appear here with the reason.",
          ),
    );
  }
}

/**
 * noRefusals says that there is none, as far as that is known: the server reads the landing log from a while ago
 * on.
 */
export function noRefusals(answer: { refused_since: number; refused_unknown?: string }, none: string): string {
  if (answer.refused_unknown) return `Not known: ${answer.refused_unknown}.`;
  return answer.refused_since
    ? `${none} since ${fullTime(answer.refused_since)}; fanwatch refused lists what came before.`
    : `${none}.`;
}

/** refusals shows quarantined messages with the reason and the bytes. */
export function refusals(list: Refusal[], none: string): HTMLElement {
  if (list.length === 0) return h("p", { class: "empty" }, none);
  return h(
    "ul",
    { class: "cards" },
    ...list.map(r =>
      h(
        "li",
        { class: "card" },
        h(
          "article",
          {},
          h(
            "header",
            {},
            h("h3", {}, r.fan || "unknown fan"),
            r.client ? h("span", { class: "quiet" }, `from ${r.client}`) : null,
            h("span", { class: "age" }, time(r.at)),
          ),
          h("p", { class: "why" }, r.reason),
          r.payload ? h("pre", {}, r.payload + (r.cut ? " \u2026" : "")) : null,
        ),
      ),
    ),
  );
}
