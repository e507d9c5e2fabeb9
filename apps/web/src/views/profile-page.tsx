import type { Profile } from "../profiles/profiles.ts";

/** A profile as its owner sees it. */
export function ProfilePage({ username, name, bio, updatedAt }: Profile) {
  return (
    <>
      <p class="eyebrow">{username}</p>
      <h1>{name}</h1>
      <p class="bio">{bio === "" ? <em>No bio yet.</em> : bio}</p>
      <p class="actions">
        <a class="button" href="/profile/edit">
          Edit profile
        </a>
        <small>
          Saved{" "}
          <time dateTime={updatedAt.toISOString()}>{updatedAt.toISOString().slice(0, 19).replace("T", " ")} UTC</time>
        </small>
      </p>
    </>
  );
}
