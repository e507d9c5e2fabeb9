interface RemoveFormProps {
  readonly action: string;
  /** The field that says what to remove, and its value. */
  readonly field: string;
  readonly value: string;
}

/** The end of a row in a list: a button that removes what the row shows. */
export function RemoveForm({ action, field, value }: RemoveFormProps) {
  return (
    <form method="post" action={action}>
      <input type="hidden" name={field} value={value} />
      <button class="quiet" type="submit" aria-label={`Remove ${value}`}>
        Remove
      </button>
    </form>
  );
}
