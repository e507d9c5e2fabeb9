/** An error's message, followed by those of its causes: one line that tells an operator what to look at. */
export function reasonsOf(error: unknown): string {
  const messages = new Set<string>();
  for (let reason = error; reason instanceof Error; reason = reason.cause) messages.add(reason.message);
  return [...messages].join(" ") || String(error);
}
