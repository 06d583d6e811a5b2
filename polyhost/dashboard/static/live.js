// The connection to the server: events as they occur, and the state every second.

import { byId, setText } from "./dom.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15000;

function setLink(text, className) {
  setText(byId("link"), text);
  byId("link").className = `pill ${className}`;
}

/** Calls `onOpen` with each connection, after which the server sends the latest events again. */
export function connect({ onOpen, onEvent, onState }, pause = FIRST_PAUSE_MS) {
  const source = new EventSource("events");
  source.onopen = () => {
    pause = FIRST_PAUSE_MS;
    setLink("live", "good");
    onOpen();
  };
  source.onerror = () => {
    // The browser itself would try again every few seconds for ever.
    source.close();
    setLink("disconnected, reconnecting", "bad");
    setTimeout(connect, pause, { onOpen, onEvent, onState }, Math.min(2 * pause, LONGEST_PAUSE_MS));
  };
  source.addEventListener("event", ({ data }) => onEvent(JSON.parse(data)));
  source.addEventListener("state", ({ data }) => onState(JSON.parse(data)));
}
