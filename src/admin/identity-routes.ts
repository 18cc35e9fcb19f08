// Routes of the admin API about identities of clients: what is remembered, and forgetting one so that a new one is let in.
import type { AdminRoute } from './server.ts'

/** A remembered identity. */
export type IdentityState = {
  readonly name: string
  /** Name of the gateway key. */
  readonly key: string
  readonly identity: string
  /** Binding; otherwise another one may still take its place while it is away. */
  readonly confirmed: boolean
  readonly sinceMs: number
}

/** What the routes do. */
export type IdentityActions = {
  readonly list: () => readonly IdentityState[]
  /** @param key name of the gateway key; null: every key */
  readonly forget: (name: string, key: string | null) => readonly IdentityState[]
}

const MAX_NAME = 64

/** Routes by `METHOD /path`. */
export function identityRoutes(actions: IdentityActions): Readonly<Record<string, AdminRoute>> {
  return {
    'GET /v1/identities': () => ({ status: 200, body: { identities: actions.list() } }),
    'DELETE /v1/identities': ({ body }) => {
      const { name, key } = (typeof body === 'object' && body !== null ? body : {}) as Readonly<
        Record<string, unknown>
      >
      const isKey = key === null || (typeof key === 'string' && key.length <= MAX_NAME)
      if (typeof name !== 'string' || name.length > MAX_NAME || !isKey)
        return {
          status: 400,
          body: { error: 'name is the name of a client, key that of a gateway key or null' },
        }
      return { status: 200, body: { forgotten: actions.forget(name, key) } }
    },
  }
}
