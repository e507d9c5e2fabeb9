import { Router } from "express";
import { formText } from "../requests/body.ts";
import { signedIn } from "../sessions/signed-in.ts";
import { CartPage } from "../views/cart-page.tsx";
import { seeChange, type SendPage } from "../views/send-page.tsx";
import { addToCart, removeFromCart } from "./cart.ts";

/** The cart, with forms to add an item and to remove one. */
export function cartPages(sendPage: SendPage): Router {
  const router = Router();

  router.get("/cart", (req, res) => {
    sendPage(req, res, { title: "Cart", content: <CartPage items={signedIn(req).cart} /> });
  });

  router.post("/cart", (req, res) => {
    const { cart } = signedIn(req);
    const added = addToCart(cart, req.body);
    if (added.valid) {
      seeChange(res, "/cart");
      return;
    }
    const content = <CartPage items={cart} item={formText(req.body, "item")} messages={added.fields} />;
    sendPage(req, res, { status: 422, title: "Cart", content });
  });

  router.post("/cart/remove", (req, res) => {
    removeFromCart(signedIn(req).cart, formText(req.body, "item"));
    seeChange(res, "/cart");
  });

  return router;
}
