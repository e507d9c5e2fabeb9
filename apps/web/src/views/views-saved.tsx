import type { ViewFigures } from "../profiles/profile-views.ts";
import { Figure } from "./figure.tsx";

/** What write-behind did with the counts of looks at profiles. */
export function ViewsSaved({ accepted, savedRows, saves, failedSaves, backlog }: ViewFigures) {
  return (
    <section aria-label="Collection views">
      <h2>
        Collection <em>views</em>
      </h2>
      <p class="lead">
        How often a profile was looked at is counted in Redis, which all servers see at once, and saved in the database
        behind them, many counts in one statement. One server at a time saves a part, whoever counted it.
      </p>
      <h3>This server</h3>
      <dl class="counts">
        <Figure name="accepted" label="Counted" value={accepted} meaning="Looks that Redis has accepted." />
        <Figure name="savedRows" label="Saved" value={savedRows} meaning="Newest counts that the database was given." />
        <Figure name="saves" label="Statements" value={saves} meaning="In which it was given them." />
        <Figure name="failedSaves" label="Failed" value={failedSaves} meaning="Statements that will be tried again." />
      </dl>
      <h3>All servers</h3>
      {backlog === null ? (
        <p>Redis does not say now what waits.</p>
      ) : (
        <dl class="counts">
          <Figure name="rows" label="Waiting" value={backlog.rows} meaning="Profiles whose count is to be saved." />
          <Figure
            name="oldestMs"
            label="Longest, ms"
            value={backlog.oldestMs}
            meaning="How long the first of them has waited."
          />
          <Figure
            name="deadLetters"
            label="Given up"
            value={backlog.deadLetters}
            meaning="The database refused them while it took others. They are kept in Redis."
          />
        </dl>
      )}
    </section>
  );
}
