interface HomePageProps {
  readonly serverName: string;
  readonly isSignedIn: boolean;
}

/** Explains what there is to see, and lets one see it by reloading. */
export function HomePage({ serverName, isSignedIn }: HomePageProps) {
  return (
    <>
      <p class="eyebrow">Several servers, one notebook</p>
      <h1>
        This page came from <em>{serverName}</em>. The next may not.
      </h1>
      <p class="lead">
        The load balancer gives each request to the next server in turn. None of them keeps a session to itself: they
        share one notebook, so it does not matter which one you get.
      </p>
      <p class="actions">
        <a class="button" href="/">
          Reload to hop
        </a>
        {isSignedIn ? <a href="/cart">Open your cart</a> : <a href="/sign-in">Sign in with a demo account</a>}
      </p>
      <ol class="steps">
        <li>
          <h2>Sign in on one</h2>
          <p>
            Your session is stored before the answer leaves. The next page comes from another server, and knows you.
          </p>
        </li>
        <li>
          <h2>Change something</h2>
          <p>
            A <a href="/profile">profile</a> lives in PostgreSQL; a <a href="/cart">cart</a> and{" "}
            <a href="/preferences">preferences</a> live in the session.
          </p>
        </li>
        <li>
          <h2>Read it on the others</h2>
          <p>Reload and watch the colour at the top change. What you see below it stays the same.</p>
        </li>
      </ol>
    </>
  );
}
