// Making and changing elements. Data reaches the page as text nodes and attributes alone, never as HTML.

export type Child = Node | string | null | undefined | false;
type Attrs = Record<string, string | number | boolean | null | undefined | ((e: Event) => void)>;

/**
 * h makes an element. An attribute that is a function listens to the event of its name; false, null and undefined
 * are left out.
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attrs: Attrs = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  for (const [name, v] of Object.entries(attrs)) {
    if (typeof v === "function") el.addEventListener(name, v);
    else setAttr(el, name, v);
  }
  put(el, ...children);
  return el;
}

/** put replaces what el holds. */
export function put(el: Element, ...children: Child[]): void {
  el.replaceChildren(...children.filter((c): c is Node | string => c !== null && c !== undefined && c !== false));
}

/**
 * setText and setAttr touch the document only when something changes, so that a redraw of what is the same costs
 * nothing.
 */
export function setText(el: Node, text: string): void {
  if (el.textContent !== text) el.textContent = text;
}

export function setAttr(el: Element, name: string, v: string | number | boolean | null | undefined): void {
  if (v === false || v === null || v === undefined) {
    if (el.hasAttribute(name)) el.removeAttribute(name);
    return;
  }
  const s = v === true ? "" : String(v);
  if (el.getAttribute(name) !== s) el.setAttribute(name, s);
}

/** arrange makes the children of parent exactly these, moving only what is out of place and keeping the focus. */
export function arrange(parent: Element, children: Element[]): void {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const keep = new Set(children);
  for (const c of [...parent.children]) if (!keep.has(c)) c.remove();
  children.forEach((c, i) => {
    const at = parent.children[i] ?? null;
    if (at !== c) parent.insertBefore(c, at);
  });
  if (focused instanceof HTMLElement && focused !== document.activeElement && parent.contains(focused))
    focused.focus({ preventScroll: true });
}
