const colours = 6;

/** Which server answered, in its own colour, and the browser's last hops, oldest first. */
export function ServerBadge({ serverName, hops }: { serverName: string; hops: readonly string[] }) {
  return (
    <aside class="badge" data-server={colourOf(serverName)} aria-label="Server">
      <p class="answered">
        Answered by <strong>{serverName}</strong>
      </p>
      <ol class="hops" aria-label="Last hops, oldest first">
        {hops.map((hop, position) => (
          <li data-server={colourOf(hop)} aria-current={position === hops.length - 1 ? "true" : undefined}>
            {hop}
          </li>
        ))}
      </ol>
    </aside>
  );
}

/** The stylesheet has a colour for each number from 1; `web-1` takes the first, a name without a number too. */
function colourOf(serverName: string): number {
  const number = Number(/\d{1,6}$/.exec(serverName)?.[0] ?? 1);
  return ((number + colours - 1) % colours) + 1;
}
