import type { ErrorRequestHandler } from "express";
import { answerTo } from "../requests/error-answer.ts";
import type { SendPage } from "./send-page.tsx";

/** Answers errors with a page; a page that needs a sign-in leads there. */
export function errorPages(sendPage: SendPage): ErrorRequestHandler {
  // Express knows an error handler by its four parameters.
  return (error, req, res, _next) => {
    const { status, code, message } = answerTo(error, req, res);
    if (code === "not-signed-in") res.redirect(303, "/sign-in");
    else sendPage(req, res, { status, title: message, content: <ErrorPage status={status} message={message} /> });
  };
}

function ErrorPage({ status, message }: { status: number; message: string }) {
  return (
    <>
      <p class="eyebrow">Error {status}</p>
      <h1>{message}</h1>
      <p class="actions">
        <a class="button" href="/">
          To the first page
        </a>
      </p>
    </>
  );
}
