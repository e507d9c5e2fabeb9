/**
 * An error's message, followed by those of its causes: one line that tells an operator what to look at. It ends with what
 * a Redis command came to, since the client's own error behind that may quote what was sent.
 */
export function reasonsOf(error: unknown): string {
  const messages = new Set<string>();
  for (let reason = error; reason instanceof Error; reason = reason.cause) {
    messages.add(reason.message);
    if (reason.name === "CommandError") break;
  }
  return [...messages].join(" ") || String(error);
}
