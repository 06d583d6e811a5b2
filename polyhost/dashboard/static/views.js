// The views, one shown at a time, by the fragment of the page's address.

import { byId, setText } from "./dom.js";

const links = [...document.querySelectorAll("#views a")];
const idOf = (link) => link.hash.slice(1);

export function shownView() {
  const wanted = location.hash.slice(1);
  return links.some((link) => idOf(link) === wanted) ? wanted : idOf(links[0]);
}

function show() {
  for (const link of links) {
    const shown = idOf(link) === shownView();
    byId(idOf(link)).hidden = !shown;
    if (!shown) link.removeAttribute("aria-current");
    else link.setAttribute("aria-current", "page");
    if (shown) setText(byId("view-title"), link.textContent);
  }
}

/** Shows the view that the address names, and calls `onShow` when that is another one. */
export function followAddress(onShow) {
  addEventListener("hashchange", () => {
    show();
    onShow();
  });
  show();
}
