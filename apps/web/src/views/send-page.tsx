import type { Request, Response } from "express";
import type { ComponentChild } from "preact";
import { render } from "preact-render-to-string";
import { appearanceOf } from "../preferences/appearance.ts";
import { recordHop } from "../servers/hops.ts";
import { isServerName } from "../servers/server-name.ts";
import { Layout } from "./layout.tsx";

/** Sends a page in the layout that all pages share: who answered, the last hops, who is signed in. */
export type SendPage = (req: Request, res: Response, page: Page) => void;

interface Page {
  readonly title: string;
  readonly content: ComponentChild;
  readonly status?: number;
}

/** Makes the one function that sends pages. It counts a hop for each, so redirects, the API and assets are not hops. */
export function pageSender({ serverName, sessionStack }: { serverName: string; sessionStack: string }): SendPage {
  return (req, res, { title, content, status = 200 }) => {
    // An error page is also sent when there is no session: before one was loaded, or because none can be.
    const session = (req as Partial<Request>).session;
    const changedOn = req.query["changed-on"];
    const page = (
      <Layout
        title={title}
        path={req.path}
        serverName={serverName}
        sessionStack={sessionStack}
        hops={recordHop(req, res, serverName)}
        readFrom={res.get("X-Cache")}
        username={session?.username}
        appearance={appearanceOf(session?.preferences)}
        changedOn={isServerName(changedOn) ? changedOn : undefined}
      >
        {content}
      </Layout>
    );
    res
      .status(status)
      .type("html")
      .send(`<!doctype html>${render(page)}`);
  };
}

/** Ends a form's POST: the browser gets the page by a new request, which another server answers, told who made the change. */
export function seeChange(res: Response, path: string): void {
  res.redirect(303, `${path}?changed-on=${String(res.get("X-Served-By"))}`);
}
