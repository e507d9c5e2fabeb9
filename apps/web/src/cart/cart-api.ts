import { Router } from "express";
import { requireValid } from "../requests/validation.ts";
import { signedIn } from "../sessions/signed-in.ts";
import { addToCart } from "./cart.ts";

/** `GET` and `POST /cart`: the list of items. */
export function cartApi(): Router {
  const router = Router();

  router.get("/cart", (req, res) => {
    res.json({ items: signedIn(req).cart });
  });

  router.post("/cart", (req, res) => {
    const items = requireValid(addToCart(signedIn(req).cart, req.body));
    res.status(201).json({ items });
  });

  return router;
}
