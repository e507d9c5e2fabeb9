/** A number, and what it means. */
export function Figure({
  name,
  label,
  value,
  meaning,
}: {
  name: string;
  label: string;
  value: number;
  meaning: string;
}) {
  return (
    <div>
      <dt>{label}</dt>
      <dd class="number" data-count={name}>
        {value.toLocaleString("en")}
      </dd>
      <dd class="meaning">{meaning}</dd>
    </div>
  );
}
