import type { ComponentChildren } from "preact";
import type { Appearance } from "../preferences/appearance.ts";
import { ServerBadge } from "./server-badge.tsx";

interface LayoutProps {
  readonly title: string;
  readonly path: string;
  readonly serverName: string;
  readonly sessionStack: string;
  readonly hops: readonly string[];
  /** Where the profiles on the page were, if there are any. */
  readonly readFrom: string | undefined;
  readonly username: string | undefined;
  readonly appearance: Appearance;
  readonly changedOn: string | undefined;
  readonly children: ComponentChildren;
}

/** What all pages share. */
export function Layout(props: LayoutProps) {
  const { title, path, serverName, hops, username, appearance, changedOn } = props;
  return (
    <html lang="en" data-theme={appearance.theme} data-accent={appearance.accent}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>{`${title} · Lockstep`}</title>
        <link rel="icon" href="/assets/favicon.svg" type="image/svg+xml" />
        <link rel="stylesheet" href="/assets/lockstep.css" />
      </head>
      <body>
        <a class="skip" href="#content">
          Skip to content
        </a>
        <ServerBadge serverName={serverName} hops={hops} readFrom={props.readFrom} />
        <header class="masthead">
          <a class="wordmark" href="/">
            Lockstep
          </a>
          <Navigation path={path} username={username} />
        </header>
        <main id="content" class="sheet">
          {changedOn !== undefined && <ChangeNotice changedOn={changedOn} serverName={serverName} />}
          {props.children}
        </main>
        <footer class="footer">
          <p>
            Session stack: <strong>{props.sessionStack}</strong>
          </p>
          <p>Several servers, one notebook. Every page says who answered it.</p>
        </footer>
      </body>
    </html>
  );
}

function Navigation({ path, username }: { path: string; username: string | undefined }) {
  const links = {
    "/people": "People",
    "/cache": "Cache",
    ...(username === undefined
      ? { "/sign-in": "Sign in", "/sign-up": "Sign up" }
      : { "/profile": "Profile", "/cart": "Cart", "/preferences": "Preferences" }),
  };
  return (
    <nav class="navigation" aria-label="Main">
      {Object.entries(links).map(([href, label]) => (
        <a href={href} aria-current={path.startsWith(href) ? "page" : undefined}>
          {label}
        </a>
      ))}
      {username !== undefined && (
        <form method="post" action="/sign-out">
          <button class="quiet" type="submit">
            Sign out <span class="signed-in-as">{username}</span>
          </button>
        </form>
      )}
    </nav>
  );
}

function ChangeNotice({ changedOn, serverName }: { changedOn: string; serverName: string }) {
  return (
    <p class="notice" role="status">
      Changed on <strong>{changedOn}</strong>, read back on <strong>{serverName}</strong>.
    </p>
  );
}
