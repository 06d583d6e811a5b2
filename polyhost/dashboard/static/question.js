// What the server is asked for beside the state.

/** Returns a function that asks for JSON about an endpoint, one request at a time; null if there is no answer now. */
export function newQuestion(path) {
  let asking = false;
  return async ({ region, name }) => {
    if (asking) return null;
    asking = true;
    try {
      const response = await fetch(`${path}?${new URLSearchParams({ region, endpoint: name })}`);
      return response.ok ? await response.json() : null;
    } catch {
      return null; // the server has stopped, which the head of the page says
    } finally {
      asking = false;
    }
  };
}
