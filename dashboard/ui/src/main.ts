// The page: its frame, and which view the address after # leads to.

import { AlertsView } from "./alerts";
import { h, put, setAttr, setText } from "./dom";
import { FanView } from "./fan";
import { FleetView } from "./fleet";
import { InboxView, RefusedView } from "./lists";
import { look, Store } from "./store";
import { time } from "./words";

/** A view fills the page until another is opened. */
export interface View {
  readonly title: string;
  readonly el: HTMLElement;
  /** update is called after each change and at least every few seconds. */
  update(): void;
  close?(): void;
}

const store = new Store();
const main = document.getElementById("main")!;
const banners = document.getElementById("banners")!;
const live = document.getElementById("live")!;
let view: View | null = null;

const links = (
  [
    ["#/", "Fans"],
    ["#/alerts", "Alerts"],
    ["#/inbox", "Inbox"],
    ["#/refused", "Refused"],
  ] as const
).map(([href, name]) => ({ name, href, a: h("a", { href }, name, h("span", { class: "count" })) }));
document.getElementById("nav")!.append(...links.map(l => l.a));

function open(): void {
  const [, kind = "", arg = ""] = /^#\/([^/]*)(?:\/(.*))?$/.exec(location.hash) ?? [];
  view?.close?.();
  switch (kind) {
    case "fan":
      view = arg ? new FanView(store, decode(arg)) : new NoView();
      break;
    case "alerts":
      view = new AlertsView(store);
      break;
    case "inbox":
      view = new InboxView(store);
      break;
    case "refused":
      view = new RefusedView(store);
      break;
    case "":
      view = new FleetView(store);
      break;
    default:
      view = new NoView();
  }
  for (const l of links) {
    const here = l.href === `#/${kind}` || (l.href === "#/" && view instanceof FanView);
    setAttr(l.a, "aria-current", here && (kind === "fan" ? "true" : "page"));
  }
  put(main, view.el);
  window.scrollTo(0, 0);
  draw();
}

/** NoView stands where an address leads to nothing, so that the fleet is not taken for what was asked for. */
class NoView implements View {
  readonly title = "No such page";
  readonly el = h(
    "section",
    {},
    h("h1", {}, "No such page"),
    h("p", { class: "empty" }, "This address leads to nothing here. ", h("a", { href: "#/" }, "See all fans")),
  );
  update(): void {
    // It says the same for good.
  }
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

let drawn = 0;
let waiting = false;

/** soon draws once before the next frame, however often it is called; a hidden page waits. */
function soon(): void {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

function draw(): void {
  drawn = Date.now();
  const open = store.alerts.filter(a => a.state === "open" && !look(a)).length;
  const alerts = links[1]!.a;
  setText(alerts.lastElementChild!, open ? String(open) : "");
  setAttr(alerts.lastElementChild!, "aria-label", open ? `${open} open` : null);
  setAttr(links[2]!.a, "hidden", !store.about.inbox);
  setText(live, { live: "Live", connecting: "Connecting", lost: "No connection" }[store.link]);
  setAttr(live, "data-link", store.link);
  drawBanners();
  view?.update();
  document.title = `${open ? `(${open}) ` : ""}${view?.title ?? "Fleet"} - fanwatch`;
}

let shown = "";

// A banner's text stays the same while its trouble lasts, so that screen readers say it once.
function drawBanners(): void {
  const key = `${store.link === "lost" ? store.heard : ""}|${store.trouble}|${store.logs}`;
  if (key === shown) return;
  shown = key;
  put(
    banners,
    store.link === "lost" &&
      h(
        "p",
        { class: "banner", "data-tone": "bad" },
        h("strong", {}, "Connection lost. "),
        "What you see is from ",
        time(store.heard),
        ". Trying again every few seconds.",
      ),
    store.link !== "lost" &&
      store.trouble !== "" &&
      h(
        "p",
        { class: "banner", "data-tone": "warn" },
        h("strong", {}, "The control plane does not answer. "),
        store.asked ? "States and alerts are from " : "States and alerts are not known yet",
        store.asked ? time(store.asked) : null,
        ". ",
        h("span", { class: "quiet" }, store.trouble),
      ),
    store.link !== "lost" &&
      store.logs !== "" &&
      h(
        "p",
        { class: "banner", "data-tone": "warn" },
        h("strong", {}, "Readings are old. "),
        h("span", { class: "quiet" }, store.logs),
      ),
  );
}

window.addEventListener("hashchange", () => {
  open();
  main.focus({ preventScroll: true });
});
document.querySelector(".skip")!.addEventListener("click", e => {
  e.preventDefault(); // the address after # names the view
  main.focus();
});
store.onChange(soon);
setInterval(() => Date.now() - drawn > 900 && soon(), 1000);
store.start();
open();
