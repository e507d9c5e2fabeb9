import type { ComponentChild } from "preact";
import type { Profile } from "../profiles/profile.ts";

interface ProfilePageProps {
  readonly profile: Profile;
  readonly eyebrow: ComponentChild;
  /** Whether its owner looks at it. */
  readonly isOwn: boolean;
  /** How often others have looked at it, where that is shown and known. */
  readonly views?: number | undefined;
}

/** A profile; its owner finds the way to edit it. */
export function ProfilePage({ profile, eyebrow, isOwn, views }: ProfilePageProps) {
  const { name, headline, city, bio, updatedAt } = profile;
  const about = [headline, city].filter((part) => part !== "").join(" · ");
  return (
    <>
      <p class="eyebrow">{eyebrow}</p>
      <h1>{name}</h1>
      {about !== "" && <p class="lead">{about}</p>}
      <p class="bio">{bio === "" ? <em>No bio yet.</em> : bio}</p>
      <p class="actions">
        {isOwn && (
          <a class="button" href="/profile/edit">
            Edit profile
          </a>
        )}
        <small>
          {views !== undefined && <span data-views={views}>Seen {times(views)} by others. </span>}
          Saved <time dateTime={updatedAt}>{updatedAt.slice(0, 19).replace("T", " ")} UTC</time>
        </small>
      </p>
    </>
  );
}

function times(count: number): string {
  return count === 1 ? "once" : `${count.toLocaleString("en")} times`;
}
