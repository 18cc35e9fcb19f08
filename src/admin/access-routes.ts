// Routes of the admin API about keys and operators. Secrets never pass here: the command line writes the file, the gate reads it.
import type { Access } from '../access/access.ts'
import type { AdminRoute } from './server.ts'

/** Routes by `METHOD /path`. */
export function accessRoutes(access: Access): Readonly<Record<string, AdminRoute>> {
  return {
    'GET /v1/access': () => ({
      status: 200,
      body: { keys: access.keys(), operators: access.operators() },
    }),
    'POST /v1/access/reload': async () => ({ status: 200, body: await access.reload() }),
  }
}
