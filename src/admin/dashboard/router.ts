// Finds the route of a path. Parts that a route names are decoded once and never hold a slash or a control character.
import type { PageRoute } from './page.ts'

/** A found route with the parts of the path that it names. */
export type Match = { readonly route: PageRoute; readonly params: Readonly<Record<string, string>> }

/** The table of all routes. */
export type Router = {
  /** @param path path without query, as the browser sent it */
  readonly find: (method: 'GET' | 'POST', path: string) => Match | undefined
  /** Whether the path has a route of any method. */
  readonly knows: (path: string) => boolean
}

const MAX_PARTS = 12

/** @throws Error when two routes have the same method and path */
export function createRouter(routes: readonly PageRoute[]): Router {
  const seen = new Set<string>()
  const table = routes.map(route => {
    const key = `${route.method} ${route.path.replaceAll(/:\w+/g, ':')}`
    if (seen.has(key)) throw new Error(`two routes of the dashboard are ${key}`)
    seen.add(key)
    return { route, parts: route.path.split('/') }
  })
  // A literal part is preferred to a named one, wherever the routes come from.
  table.sort((a, b) => namedParts(a.parts) - namedParts(b.parts))
  const find: Router['find'] = (method, path) => {
    const given = path.split('/')
    if (given.length > MAX_PARTS) return undefined
    for (const { route, parts } of table) {
      if (route.method !== method) continue
      const params = matched(parts, given)
      if (params !== undefined) return { route, params }
    }
    return undefined
  }
  return {
    find,
    knows: path => find('GET', path) !== undefined || find('POST', path) !== undefined,
  }
}

function namedParts(parts: readonly string[]): number {
  return parts.filter(part => part.startsWith(':')).length
}

function matched(parts: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  if (parts.length !== given.length) return undefined
  const params: Record<string, string> = {}
  for (const [index, part] of parts.entries()) {
    const text = given[index] ?? ''
    if (!part.startsWith(':')) {
      if (part !== text) return undefined
      continue
    }
    const value = decoded(text)
    if (value === undefined || value === '') return undefined
    params[part.slice(1)] = value
  }
  return params
}

function decoded(text: string): string | undefined {
  try {
    const value = decodeURIComponent(text)
    return /[/\p{Cc}]/u.test(value) ? undefined : value
  } catch {
    return undefined
  }
}
