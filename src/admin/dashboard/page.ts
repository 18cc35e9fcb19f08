// What a page of the dashboard is: who asks, for what, and the answer. Every route keeps to this; the server does the rest.
import type { Role } from '../../access/access.ts'
import type { Html } from './html.ts'
import type { View } from './view.ts'

/** A request that has passed: the operator is logged in, has role and reach, and a form carried the right token. */
export type PageRequest = {
  /** What this operator may see. Data of sites and clients goes through here, so that nobody sees more. */
  readonly view: View
  /** Parts of the path that the route names, decoded: `/sites/:site` gives `site`. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** Fields of a form; empty for GET. */
  readonly form: URLSearchParams
  readonly nowMs: number
  /** Hidden field for every form of the page. */
  readonly csrf: Html
  /** Ends when the browser has gone. */
  readonly signal: AbortSignal
}

/** A page. */
export type Page = {
  readonly kind: 'page'
  readonly title: string
  readonly body: Html
  readonly status?: 400 | 404 | 409 | 503
  /** Seconds after which the page renews itself while nobody works on it; at least 2. */
  readonly refreshSeconds?: number
  /** Browser modules beside the one of every page: names of files in `assets/`, such as `live-events.js`. */
  readonly modules?: readonly string[]
}

/** What a route answers with. After a change always `redirect`, so that reloading the page repeats nothing. */
export type PageAnswer =
  | Page
  | {
      readonly kind: 'redirect'
      /** Path and query on this dashboard. Parts that somebody else wrote go through `link`. */
      readonly to: string
      /** One sentence about what was done, shown once on the next page. */
      readonly notice?: string
      /** What was changed, for the audit log: an address range, a rule, a version. */
      readonly target?: string
    }
  | {
      readonly kind: 'text'
      readonly contentType: 'application/json' | 'text/plain' | 'text/csv' | 'text/markdown'
      readonly text: string
      /** Saved under this name instead of shown. */
      readonly fileName?: string
    }
  | {
      /** Server-sent events: `follow` is called once and ends with the signal of the request. */
      readonly kind: 'stream'
      readonly follow: (send: (event: string, data: string) => void, signal: AbortSignal) => void
    }

/**
 * Who may open a route, beside its role. `sites`: also operators that are limited to sites or keys, because everything
 * shown comes from `view`, or from what `view.sees` and `view.reaches` let through; a `:site` in the path is checked by
 * the server. `gate`: only operators without such limits.
 */
export type Reach = 'sites' | 'gate'

type RouteBase = {
  /** `/sites/:site`. A part in colons never holds a slash. */
  readonly path: string
  readonly role: Role
  readonly reach: Reach
  readonly run: (request: PageRequest) => Promise<PageAnswer> | PageAnswer
}

/** A page to look at. It changes nothing. */
export type GetRoute = RouteBase & {
  readonly method: 'GET'
  /** Its place in the navigation; absent: not there. */
  readonly navigation?: { readonly group: NavigationGroup; readonly label: string }
}

/** A form that changes something. Every use is in the audit log, whatever comes of it. */
export type PostRoute = RouteBase & {
  readonly method: 'POST'
  /** What it does, as the audit log says it: `lift a ban`. */
  readonly action: string
  /** Asks again for the operator's password, in the field `password`: an open session alone must not do this. */
  readonly asksPassword?: true
  /** Largest form; 64 KiB unless told. */
  readonly maxFormBytes?: number
}

/** A route. Whoever has not the role or the reach gets 403, and the attempt is in the audit log. */
export type PageRoute = GetRoute | PostRoute

/** Groups of the navigation, in their order. */
export const NAVIGATION_GROUPS = ['Now', 'Customers', 'Protection', 'Gate'] as const

/** A group of the navigation. */
export type NavigationGroup = (typeof NAVIGATION_GROUPS)[number]

/** A path with values put in and a query; every value is encoded: ``link`/sites/${id}` ``. */
export function link(parts: TemplateStringsArray, ...values: readonly (string | number)[]): string {
  let text = parts[0] ?? ''
  for (const [index, value] of values.entries())
    text += encodeURIComponent(String(value)) + (parts[index + 1] ?? '')
  return text
}
