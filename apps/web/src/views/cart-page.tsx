import type { FieldMessages } from "../requests/validation.ts";
import { Field } from "./field.tsx";

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
              <form method="post" action="/cart/remove">
                <input type="hidden" name="item" value={name} />
                <button class="quiet" type="submit" aria-label={`Remove ${name}`}>
                  Remove
                </button>
              </form>
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
