/** Express 4 under a name of its own (an alias in package.json). What the tests use of it has the types of Express 5. */
declare module "express4" {
  export { default } from "express";
}
