// Elements. Clients choose the names of models, so text is only ever set as text, never as markup.

export const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function createElement(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export function createSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  const content = String(text);
  if (element.textContent !== content) element.textContent = content;
}

/** Shows the text, or hides the element if there is none. */
export function showText(element, text) {
  setText(element, text);
  element.hidden = !text;
}

/** Makes the children of `parent` one per item, in the items' order. The element of a key is kept as long as the key. */
export function reconcile(parent, items, keyOf, create, update) {
  const known = (parent.known ??= new Map());
  const keys = new Set(items.map(keyOf));
  for (const [key, element] of known) {
    if (keys.has(key)) continue;
    element.remove();
    known.delete(key);
  }
  let before = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = known.get(key);
    if (!element) {
      element = create(item);
      known.set(key, element);
    }
    update(element, item);
    if (element === before) before = before.nextElementSibling;
    else parent.insertBefore(element, before);
  }
}

/** Returns the element with `parts`: elements inside it that updates fill. */
export function withParts(element, parts) {
  element.parts = parts;
  return element;
}
