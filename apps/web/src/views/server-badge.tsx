const colours = 6;

interface ServerBadgeProps {
  readonly serverName: string;
  readonly hops: readonly string[];
  readonly readFrom: string | undefined;
}

/** Which server answered, in its own colour, where the profiles it shows were, and the last hops, oldest first. */
export function ServerBadge({ serverName, hops, readFrom }: ServerBadgeProps) {
  return (
    <aside class="badge" data-server={colourOf(serverName)} aria-label="Server">
      <p class="answered">
        Answered by <strong>{serverName}</strong>
        {readFrom !== undefined && (
          <a class="read-from" href="/cache" title="What the cache does">
            from {readFrom}
          </a>
        )}
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
