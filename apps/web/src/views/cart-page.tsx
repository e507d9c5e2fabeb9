import type { FieldMessages } from "../requests/validation.ts";
import { Field } from "./field.tsx";
import { RemoveForm } from "./remove-form.tsx";

interface CartPageProps {
  readonly items: readonly string[];
  readonly item?: string;
  readonly messages?: FieldMessages;
}

/** The cart: what is in it, and a form to add to it. */
export function CartPage({ items, item = "", messages = {} }: CartPageProps) {
  return (
    <>
      <h1>Cart</h1>
      {items.length === 0 ? (
        <p class="empty">Nothing here yet. Add something, then reload: every server has it.</p>
      ) : (
        <ul class="rows">
          {items.map((name) => (
            <li>
              <span>{name}</span>
              <RemoveForm action="/cart/remove" field="item" value={name} />
            </li>
          ))}
        </ul>
      )}
      <form method="post" action="/cart" class="inline">
        <Field name="item" label="Item" value={item} messages={messages} />
        <button type="submit">Add to cart</button>
      </form>
    </>
  );
}
