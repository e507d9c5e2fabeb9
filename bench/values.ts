import type { Value } from "./peers/product.ts";

const profile = {
  name: "Ada Lovelace",
  email: "ada.lovelace@example.org",
  address: { street: "12 St James's Square", city: "London", postcode: "SW1Y 4JH", country: "United Kingdom" },
  interests: ["analysis", "poetry", "machines", "music"],
  followers: 1815,
  verified: true,
  born: "1815-12-10",
};

/** A value of `bytes` as JSON, of the shape that applications cache: one profile with a text, or a list of profiles. */
export function valueOf(bytes: number): Value {
  const profiles: object[] = [];
  const value = (bio: string): Value => ({ version: 1, id: "id-00000", ...profile, bio, profiles });
  const missing = () => bytes - Buffer.byteLength(JSON.stringify(value("")));
  const each = Buffer.byteLength(JSON.stringify(profile)) + 1;
  const count = Math.floor(missing() / each) - 1;
  for (let number = 0; number < count; number += 1) profiles.push(profile);
  return value("x".repeat(missing()));
}
