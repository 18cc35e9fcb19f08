// What a page of the dashboard is: who asks, for what, and the answer.
import type { Operator, Role } from '../../access/access.ts'
import type { Html } from './html.ts'

/** A request that has passed: the operator is logged in, has the role, and a form carried the right token. */
export type PageRequest = {
  readonly operator: Operator
  /** Parts of the path that the route names, decoded: `/sites/:site` gives `site`. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** Fields of a form; empty for GET. */
  readonly form: URLSearchParams
  readonly nowMs: number
  /** Hidden field for every form of the page. */
  readonly csrf: Html
}

/** What a route answers with. After a change always `redirect`, so that reloading the page repeats nothing. */
export type PageAnswer =
  | {
      readonly kind: 'page'
      readonly title: string
      readonly body: Html
      readonly status?: 400 | 404 | 409 | 503
      /** Seconds after which the browser asks again by itself. */
      readonly refreshSeconds?: number
    }
  | { readonly kind: 'redirect'; readonly to: string; readonly notice?: string }
  | { readonly kind: 'text'; readonly contentType: string; readonly text: string }

/** A route. Whoever has not the role gets 403, and the attempt is in the audit log. */
export type PageRoute = {
  readonly method: 'GET' | 'POST'
  /** `/sites/:site`. */
  readonly path: string
  readonly role: Role
  /** Place in the navigation; absent: not there. */
  readonly navigation?: string
  readonly run: (request: PageRequest) => Promise<PageAnswer>
}
